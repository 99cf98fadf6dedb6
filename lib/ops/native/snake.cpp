// Samples along bent strips, channels-last, and their gradients. Positions along the axis of a strip are integers, so a
// sample is interpolated from two corners in 2-D and four corners in 3-D.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

static const int MAX_CORNERS = 4;

template <typename REAL> struct Strip {
  const REAL *x, *curves;  // (batch, *S, C) and (batch, *S, across, taps)
  REAL *samples;           // (batch, *S, taps, C)
  int64_t batch, dims, size[3], C, taps, axis, threads;

  int64_t pixels() const { return size[0] * size[1] * size[2]; }

  // Write the rows of x that a sample is interpolated from, their weights (share), and the derivatives of the weights with
  // respect to the position along each other axis (slope). Return the number of rows.
  int corners(int64_t image, int64_t pixel, int64_t tap, int64_t *row, REAL *share, REAL slope[2][MAX_CORNERS]) const {
    const int64_t stride[3] = {size[1] * size[2], size[2], 1};
    const int64_t at[3] = {pixel / stride[0], pixel / stride[1] % size[1], pixel % size[2]};
    const int64_t across = dims - 1, along = std::clamp<int64_t>(at[axis] + tap - taps / 2, 0, size[axis] - 1);
    int count = 1, seen = 0;
    row[0] = image * pixels() + along * stride[axis], share[0] = 1;
    for (int64_t other = 3 - dims; other < 3; other++) {
      if (other == axis) continue;
      const int64_t last = size[other] - 1;
      const REAL place = at[other] + curves[((image * pixels() + pixel) * across + seen) * taps + tap];
      // With comparisons in this order a NaN becomes 0, so no memory outside the image is read.
      const REAL positive = place > 0 ? place : 0, inside = positive < last ? positive : last;
      const int64_t low = std::min<int64_t>((int64_t)inside, std::max<int64_t>(last - 1, 0));
      const REAL part = inside - low, moves = place >= 0 && place <= last ? 1 : 0;
      for (int c = 0; c < count; c++) {
        for (int before = 0; before < seen; before++) {
          slope[before][c + count] = slope[before][c] * part;
          slope[before][c] *= 1 - part;
        }
        slope[seen][c] = -share[c] * moves, slope[seen][c + count] = share[c] * moves;
        share[c + count] = share[c] * part, share[c] *= 1 - part;
        row[c + count] = row[c] + std::min(low + 1, last) * stride[other], row[c] += low * stride[other];
      }
      count *= 2, seen++;
    }
    return count;
  }
};

template <typename REAL> static void sample(const Strip<REAL> &s) {
  const int64_t total = s.batch * s.pixels();
#pragma omp parallel for num_threads(s.threads) schedule(static)
  for (int64_t p = 0; p < total; p++)
    for (int64_t tap = 0; tap < s.taps; tap++) {
      int64_t row[MAX_CORNERS];
      REAL share[MAX_CORNERS], slope[2][MAX_CORNERS], *to = s.samples + (p * s.taps + tap) * s.C;
      const int count = s.corners(p / s.pixels(), p % s.pixels(), tap, row, share, slope);
      const REAL *a = s.x + row[0] * s.C, *b = s.x + row[1] * s.C;
      const REAL *c = count > 2 ? s.x + row[2] * s.C : a, *d = count > 2 ? s.x + row[3] * s.C : b;
      if (count == 2)
#pragma omp simd
        for (int64_t i = 0; i < s.C; i++) to[i] = share[0] * a[i] + share[1] * b[i];
      else
#pragma omp simd
        for (int64_t i = 0; i < s.C; i++) to[i] = share[0] * a[i] + share[1] * b[i] + share[2] * c[i] + share[3] * d[i];
    }
}

template <typename REAL> static void differentiate(const Strip<REAL> &s, const REAL *grad, REAL *dx, REAL *dcurves) {
  const int64_t across = s.dims - 1;
  // Different images have different rows of x, so threads that process different images never add to the same element.
#pragma omp parallel for num_threads(s.threads) schedule(static)
  for (int64_t image = 0; image < s.batch; image++) {
    memset(dx + image * s.pixels() * s.C, 0, s.pixels() * s.C * sizeof(REAL));
    for (int64_t pixel = 0; pixel < s.pixels(); pixel++)
      for (int64_t tap = 0; tap < s.taps; tap++) {
        int64_t row[MAX_CORNERS];
        REAL share[MAX_CORNERS], slope[2][MAX_CORNERS], dot[MAX_CORNERS] = {};
        const REAL *g = grad + ((image * s.pixels() + pixel) * s.taps + tap) * s.C;
        const int count = s.corners(image, pixel, tap, row, share, slope);
        for (int c = 0; c < count; c++) {
          const REAL *from = s.x + row[c] * s.C, weight = share[c];
          REAL *to = dx + row[c] * s.C, sum = 0;
#pragma omp simd reduction(+ : sum)
          for (int64_t i = 0; i < s.C; i++) {
            to[i] += weight * g[i];
            sum += from[i] * g[i];
          }
          dot[c] = sum;
        }
        for (int64_t other = 0; other < across; other++) {
          REAL total = 0;
          for (int c = 0; c < count; c++) total += slope[other][c] * dot[c];
          dcurves[((image * s.pixels() + pixel) * across + other) * s.taps + tap] = total;
        }
      }
  }
}

#define SNAKE(REAL, SUFFIX)                                                                                             \
  extern "C" int snake_forward_##SUFFIX(const Strip<REAL> *s) {                                                         \
    sample(*s);                                                                                                         \
    return 0;                                                                                                           \
  }                                                                                                                     \
  extern "C" int snake_backward_##SUFFIX(const Strip<REAL> *s, const REAL *grad, REAL *dx, REAL *dcurves) {             \
    differentiate(*s, grad, dx, dcurves);                                                                               \
    return 0;                                                                                                           \
  }
SNAKE(float, f32)
SNAKE(double, f64)
