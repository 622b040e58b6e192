#!/usr/bin/env bash
# Choose the first X-rays to label where several are of one patient, and test whether the choice beat a random one.
#
# The X-rays are made by the script: 28 × 28 pixels in the layout of MedMNIST, with 2 to 6 images of each patient. For
# your own, put their images into `train_images` (n, height, width), and for the comparison their labels into
# `train_labels` (n,), and list the patient of each in patients.csv.
set -euo pipefail

# Fewer patients and seeds take less time; SOURCE is any source of embeddings, such as resnet50 or pca.
PATIENTS=${PATIENTS:-150} SEEDS=${SEEDS:-10} SOURCE=${SOURCE:-efficientnet-lite0}

python - "$PATIENTS" <<'EOF'
import csv
import sys

import numpy as np

rng = np.random.default_rng(0)
rows, columns = np.mgrid[0:28, 0:28]
images, labels, patients = [], [], []
for patient in range(int(sys.argv[1])):
    ill = patient % 3 != 0
    width, tilt = rng.uniform(4, 7), rng.uniform(-0.2, 0.2)
    for _ in range(rng.integers(2, 7)):
        # Two dark lungs on a bright chest; those of an ill patient have a bright spot.
        chest = np.full((28, 28), 170.0)
        for middle in (8, 20):
            lung = ((columns - middle - tilt * (rows - 14)) / width) ** 2 + ((rows - 14) / 11) ** 2 < 1
            chest[lung] = 60
        if ill:
            row, column = rng.normal(17, 3), rng.choice([8, 20]) + rng.normal(0, 2)
            chest += 90 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 12)
        images.append(np.clip(chest + rng.normal(0, 15, chest.shape), 0, 255).astype(np.uint8))
        labels.append(int(ill))
        patients.append(f"patient-{patient:03d}")
np.savez("xrays.npz", train_images=np.stack(images), train_labels=np.array(labels))
with open("patients.csv", "w", newline="") as file:
    csv.writer(file).writerows([("index", "group"), *enumerate(patients)])
EOF

# No patient is both in train and in test.
initpools embed "$SOURCE" --dataset xrays.npz --groups patients.csv

# 20 X-rays of 20 patients.
initpools select-pool --budget 20 --set per_group=1 -o to-label.csv

# Does that beat 20 random X-rays? Intervals are over patients, too.
initpools al-run --init random,maxherding --query random --init-budget 20 --budget 20 --rounds 1 --seeds "$SEEDS" \
  --set per_group=1 --name first-xrays
initpools compare first-xrays
