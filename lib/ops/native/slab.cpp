// Weighted sum of windows of logits in a slab, and the class of the largest logit between the samples of two slices.

#include <algorithm>
#include <cstdint>

typedef float vec __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t pick __attribute__((vector_size(32)));

// Axes are K, X, Y, Z. The slab has Y innermost in memory; the window has Y or Z innermost. Where the index along X, Y or Z
// is below `overlap`, earlier windows cover the sample and the window is added; elsewhere the window is written.
struct Blend {
  const float *window;
  float *slab;
  const float *weights[3];
  int64_t sizes[4], from[4], to[4], overlap[3], threads;
};

// Transpose a block of eight rows of eight values.
static inline void turn(vec *r) {
  vec t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shuffle(r[i], r[i + 1], pick{0, 8, 1, 9, 4, 12, 5, 13});
    t[i + 1] = __builtin_shuffle(r[i], r[i + 1], pick{2, 10, 3, 11, 6, 14, 7, 15});
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      r[i + 2 * j] = __builtin_shuffle(t[i + j], t[i + j + 2], pick{0, 1, 8, 9, 4, 5, 12, 13});
      r[i + 2 * j + 1] = __builtin_shuffle(t[i + j], t[i + j + 2], pick{2, 3, 10, 11, 6, 7, 14, 15});
    }
  for (int i = 0; i < 4; i++) {
    t[i] = __builtin_shuffle(r[i], r[i + 4], pick{0, 1, 2, 3, 8, 9, 10, 11});
    t[i + 4] = __builtin_shuffle(r[i], r[i + 4], pick{4, 5, 6, 7, 12, 13, 14, 15});
  }
  for (int i = 0; i < 8; i++) r[i] = t[i];
}

template <bool WRITE>
static void run(const Blend &b, const float *from, float *to, float weight, int64_t z, int64_t y, int64_t last) {
  const float scale = weight * b.weights[2][z], *across = b.weights[1];
  from += z * b.from[3], to += z * b.to[3];
  for (; y < last; y++) {
    const float value = from[y * b.from[2]] * (across[y] * scale);
    to[y] = WRITE ? value : to[y] + value;
  }
}

// Slices [z, z_end) by columns [y, y_end) of one row of the window.
template <bool WRITE>
static void part(const Blend &b, const float *from, float *to, float weight, int64_t z, int64_t z_end, int64_t y,
                 int64_t y_end) {
  if (b.from[2] != 1)
    for (; z + 8 <= z_end; z += 8) {
      int64_t i = y;
      for (; i + 8 <= y_end; i += 8) {
        vec r[8];
        for (int j = 0; j < 8; j++) r[j] = *(const vec *)(from + (i + j) * b.from[2] + z);
        turn(r);
        const vec across = weight * *(const vec *)(b.weights[1] + i);
        for (int j = 0; j < 8; j++) {
          vec *at = (vec *)(to + (z + j) * b.to[3] + i);
          const vec value = r[j] * (across * b.weights[2][z + j]);
          *at = WRITE ? value : *at + value;
        }
      }
      for (int j = 0; j < 8; j++) run<WRITE>(b, from, to, weight, z + j, i, y_end);
    }
  for (; z < z_end; z++) run<WRITE>(b, from, to, weight, z, y, y_end);
}

extern "C" int blend_f32(const Blend *window) {
  const Blend &b = *window;
  if (b.to[2] != 1 || (b.from[2] != 1 && b.from[3] != 1)) return 1;
  const int64_t Y = b.sizes[2], Z = b.sizes[3];
#pragma omp parallel for num_threads(b.threads) schedule(static) collapse(2)
  for (int64_t k = 0; k < b.sizes[0]; k++)
    for (int64_t x = 0; x < b.sizes[1]; x++) {
      const float *from = b.window + k * b.from[0] + x * b.from[1], weight = b.weights[0][x];
      float *to = b.slab + k * b.to[0] + x * b.to[1];
      const int64_t z = x < b.overlap[0] ? Z : b.overlap[2], y = b.overlap[1];
      part<false>(b, from, to, weight, 0, z, 0, Y);
      part<false>(b, from, to, weight, z, Z, 0, y);
      part<true>(b, from, to, weight, z, Z, y, Y);
    }
  return 0;
}

// A slice between two slices of logits, (K, X, Y) in any layout, and the positions at which it is sampled.
struct Classes {
  const float *below, *above;
  const int64_t *rows, *columns;  // index of the sample at or below each position, along X and along Y
  const float *down, *across;     // distance of each position towards the next sample, in [0, 1]
  uint8_t *corners, *result;      // workspace (X, Y); classes (height, width)
  int64_t K, X, Y, below_strides[3], above_strides[3], height, width, threads;
  float fraction;                 // distance of the slice from `below` towards `above`, in [0, 1]
};

static inline float between(float one, float other, float fraction) { return one + fraction * (other - one); }

static inline int64_t at(const int64_t *strides, int64_t k, int64_t x, int64_t y) {
  return k * strides[0] + x * strides[1] + y * strides[2];
}

static const int BLOCK = 64;

// Write the class of each sample in a part of a row. With Y innermost in memory the compiler vectorises the loop.
template <bool INNERMOST>
static void largest(const Classes &c, int64_t x, int64_t y, int64_t count) {
  const int64_t step = INNERMOST ? 1 : c.below_strides[2], other = INNERMOST ? 1 : c.above_strides[2];
  float best[BLOCK];
  int32_t label[BLOCK];
  for (int64_t k = 0; k < c.K; k++) {
    const float *below = c.below + at(c.below_strides, k, x, y), *above = c.above + at(c.above_strides, k, x, y);
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
      const float value = between(below[i * step], above[i * other], c.fraction);
      const bool more = k == 0 || value > best[i];
      label[i] = more ? k : label[i];
      best[i] = more ? value : best[i];
    }
  }
  for (int64_t i = 0; i < count; i++) c.corners[x * c.Y + y + i] = label[i];
}

// Return the class at a position. Where the four samples around it have the same class, every weighted mean has it too.
static uint8_t sampled(const Classes &c, int64_t row, int64_t column) {
  const int64_t x = c.rows[row], y = c.columns[column], right = y + 1 < c.Y, lower = x + 1 < c.X;
  const uint8_t *corner = c.corners + x * c.Y + y, label = corner[0];
  if (label == corner[right] && label == corner[lower * c.Y] && label == corner[lower * c.Y + right]) return label;
  float best = 0;
  int64_t found = 0;
  for (int64_t k = 0; k < c.K; k++) {
    const auto value = [&](int64_t i, int64_t j) {
      return between(c.below[at(c.below_strides, k, i, j)], c.above[at(c.above_strides, k, i, j)], c.fraction);
    };
    const float upper = between(value(x, y), value(x, y + right), c.across[column]);
    const float under = between(value(x + lower, y), value(x + lower, y + right), c.across[column]);
    const float logit = between(upper, under, c.down[row]);
    if (k == 0 || logit > best) best = logit, found = k;
  }
  return found;
}

extern "C" int classes_f32(const Classes *slice) {
  const Classes &c = *slice;
  const auto part = c.below_strides[2] == 1 && c.above_strides[2] == 1 ? largest<true> : largest<false>;
#pragma omp parallel num_threads(c.threads)
  {
#pragma omp for schedule(static)
    for (int64_t x = 0; x < c.X; x++)
      for (int64_t y = 0; y < c.Y; y += BLOCK) part(c, x, y, std::min<int64_t>(BLOCK, c.Y - y));
#pragma omp for schedule(static)
    for (int64_t row = 0; row < c.height; row++)
      for (int64_t column = 0; column < c.width; column++) c.result[row * c.width + column] = sampled(c, row, column);
  }
  return 0;
}
