#!/usr/bin/env bash
# Label a folder of images in rounds: choose a batch, label it, train on all labels, choose the next batch.
#
# The images are made by the script, and answers.csv has what a person would say of each. For your own folder, remove the
# first part, and label each batch with `initpools label --batch batch-1.csv -o labeled-1.csv`, or in a spreadsheet: the
# column `label` of batch-1.csv.
set -euo pipefail

# SOURCE is any source of embeddings, such as resnet50 or pca.
IMAGES=${IMAGES:-300} ROUNDS=${ROUNDS:-3} SOURCE=${SOURCE:-efficientnet-lite0}

python - "$IMAGES" <<'EOF'
import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

rng = np.random.default_rng(0)
Path("photos").mkdir()
answers = [("path", "label")]
for index in range(int(sys.argv[1])):
    shape = ("circle", "square", "triangle")[rng.integers(3)]
    image = Image.fromarray(rng.integers(0, 90, (64, 64, 3), dtype=np.uint8))
    x, y, size = (int(value) for value in rng.integers((8, 8, 16), (32, 32, 28)))
    color = tuple(int(value) for value in rng.integers(120, 256, 3))
    corners = {"circle": 40, "square": 4, "triangle": 3}[shape]
    ImageDraw.Draw(image).regular_polygon((x + 12, y + 12, size * 0.7), corners, int(rng.integers(360)), fill=color)
    image.save(f"photos/{index:04d}.png")
    answers.append((f"{index:04d}.png", shape))
with open("answers.csv", "w", newline="") as file:
    csv.writer(file).writerows(answers)
EOF

# What a person does: fill in the column `label` of the batch $1, and save it as $2.
label() {
  python - "$1" "$2" <<'EOF'
import csv
import sys

with open("answers.csv", newline="") as file:
    answers = {row["path"]: row["label"] for row in csv.DictReader(file)}
with open(sys.argv[1], newline="") as file:
    rows = [{**row, "label": answers[row["path"]]} for row in csv.DictReader(file)]
with open(sys.argv[2], "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
EOF
}

initpools embed "$SOURCE" --dataset photos
initpools select-pool --budget 15 -o batch-1.csv

for ((round = 1; round <= ROUNDS; round++)); do
  label "batch-$round.csv" "labeled-$round.csv"
  initpools al-run --labels "labeled-$round.csv" --budget 15 \
    --next "batch-$((round + 1)).csv" --predictions predictions.csv
done

# All labels, and the predictions that the model is sure of.
initpools export csv -o labels.csv --with predictions --above 0.9
initpools status
