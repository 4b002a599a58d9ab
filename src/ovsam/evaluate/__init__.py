"""How good a predictor is: COCO annotations in, mean IoU and accuracy out."""
