/* The learner `linear` on subsets of the same images: L-BFGS in single precision, one fit after the other.

   Minimizes  sum_i weight_i * cross-entropy(points_i z, label_i) + 1/2 sum_r ridge_r ||z_r||^2  over z (width, C).
   All arrays have C = 16 columns, of which the first `classes` count. See fast_linear.py. */

#include <math.h>
#include <string.h>

#define C 16
#define MEMORY 6
#define LONGEST 300

static float dot(const float *a, const float *b, int size) {
    float sums[C] = {0}, total = 0;
    for (int i = 0; i < size; i += C)
        for (int c = 0; c < C; c++) sums[c] += a[i + c] * b[i + c];
    for (int c = 0; c < C; c++) total += sums[c];
    return total;
}

static void add(float *restrict to, float factor, const float *restrict from, int size) {
    for (int i = 0; i < size; i++) to[i] += factor * from[i];
}

/* out (rows, C) = left (rows, inner) @ right (inner, C), ROWS rows at a time */
#define ROWS 4
static void product(int rows, int inner, const float *left, const float *right, float *out) {
    for (int i = 0; i < rows; i += ROWS) {
        float sum[ROWS][C] = {{0}};
        const float *row[ROWS];
        for (int j = 0; j < ROWS; j++) row[j] = left + (long)(i + j < rows ? i + j : rows - 1) * inner;
        for (int k = 0; k < inner; k++)
            for (int j = 0; j < ROWS; j++)
                for (int c = 0; c < C; c++) sum[j][c] += row[j][k] * right[k * C + c];
        for (int j = 0; j < ROWS && i + j < rows; j++) memcpy(out + (i + j) * C, sum[j], sizeof sum[j]);
    }
}

static double objective(int n, int width, int classes, const float *points, const float *back, const int *labels,
                        const float *weight, const float *ridge, const float *z, float *slope, float *logits) {
    double loss = 0, penalty = 0;
    product(n, width, points, z, logits);
    for (int i = 0; i < n; i++) {
        float *row = logits + i * C, largest = row[0], total = 0, own = row[labels[i]];
        if (weight[i] == 0) {
            memset(row, 0, C * sizeof *row);
            continue;
        }
        for (int c = 1; c < classes; c++) largest = fmaxf(largest, row[c]);
        for (int c = 0; c < classes; c++) total += row[c] = expf(row[c] - largest);
        loss += weight[i] * (logf(total) + largest - own);
        for (int c = 0; c < classes; c++) row[c] *= weight[i] / total;
        for (int c = classes; c < C; c++) row[c] = 0;
        row[labels[i]] -= weight[i];
    }
    product(width, n, back, logits, slope);
    for (int r = 0; r < width; r++)
        for (int c = 0; c < C; c++) {
            penalty += ridge[r] * z[r * C + c] * z[r * C + c];
            slope[r * C + c] += ridge[r] * z[r * C + c];
        }
    return loss + 0.5 * penalty;
}

/* Solves `count` fits in place, each from its z (width, C), with its weights (n); work: 8 + 2 MEMORY arrays. */
int solve(int count, int n, int width, int classes, const float *points, const float *back, const int *labels,
          const float *weights, const float *ridge, float tolerance, float *all, float *work) {
    int size = width * C, most = 0;
    float *slope = work, *trial = slope + size, *next = trial + size, *way = next + size, *logits = way + size;
    float *steps = logits + (n > width ? n : width) * C, *turns = steps + MEMORY * size, inverse[MEMORY], share[MEMORY];
    for (int fit = 0; fit < count; fit++) {
        float *z = all + (long)fit * size;
        const float *weight = weights + (long)fit * n;
        double value = objective(n, width, classes, points, back, labels, weight, ridge, z, slope, logits);
        int known = 0, round = 0;
        for (; round < LONGEST; round++) {
            float largest = 0;
            for (int i = 0; i < size; i++) largest = fmaxf(largest, fabsf(slope[i]));
            if (largest <= tolerance) break;
            memcpy(way, slope, size * sizeof *way);
            int first = known > MEMORY ? known - MEMORY : 0;
            for (int k = known - 1; k >= first; k--) {
                int at = k % MEMORY;
                share[at] = inverse[at] * dot(steps + at * size, way, size);
                add(way, -share[at], turns + at * size, size);
            }
            if (known) {
                float *turn = turns + (known - 1) % MEMORY * size;
                float scale = 1 / (inverse[(known - 1) % MEMORY] * dot(turn, turn, size));
                for (int i = 0; i < size; i++) way[i] *= scale;
            }
            for (int k = first; k < known; k++) {
                int at = k % MEMORY;
                add(way, share[at] - inverse[at] * dot(turns + at * size, way, size), steps + at * size, size);
            }
            float along = dot(way, slope, size), length = 1;
            double found;
            for (;; length *= 0.5f) {
                memcpy(trial, z, size * sizeof *z);
                add(trial, -length, way, size);
                found = objective(n, width, classes, points, back, labels, weight, ridge, trial, next, logits);
                if (found <= value - 1e-4 * length * along + 1e-6 * fabs(value) || length < 1e-3f) break;
            }
            float *step = steps + known % MEMORY * size, *turn = turns + known % MEMORY * size;
            for (int i = 0; i < size; i++) {
                step[i] = trial[i] - z[i];
                turn[i] = next[i] - slope[i];
            }
            float bent = dot(step, turn, size);
            if (bent > 0) inverse[known++ % MEMORY] = 1 / bent;
            memcpy(z, trial, size * sizeof *z);
            memcpy(slope, next, size * sizeof *z);
            value = found;
        }
        most = round > most ? round : most;
    }
    return most;
}
