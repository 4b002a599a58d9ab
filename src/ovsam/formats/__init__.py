"""Files of data sets and results: COCO, LVIS, SA-1B, LabelMe, YOLO, mask pictures."""
