// Lower limits of the float scan on this processor: its multiply-adds, its loop over states within the L1 cache, and
// reading two arrays and writing a third.
#include "scan.cpp"

static const int CHAINS = 12;  // enough to hide the latency of a multiply-add, few enough for AVX2's registers

// `rounds` times CHAINS independent multiply-adds of a vector.
extern "C" float multiply_adds(int64_t rounds) {
  vec_f32 sums[CHAINS] = {}, half = vec_f32{} + 0.5f;
  for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
      sums[i] = sums[i] * half + half;
      asm volatile("" : "+x"(sums[i]));  // prevents the compiler from computing the sum
    }
  vec_f32 total = {};
#pragma GCC unroll 12
  for (int i = 0; i < CHAINS; i++) total += sums[i];
  return sum_f32(total);
}

// `rounds` times the loop of one vector of channels with p.N states through one tile that stays in the cache.
extern "C" float walk_tiles(const Problem_f32 *p, int64_t rounds) {
  Tile_f32 tile;
  enter_f32(*p, tile, 0, 0, 0);
  for (int k = 0; k < TILE; k++) {
    tile.step[k] = tile.input[k] = vec_f32{} + 0.05f;
    tile.sum[k] = vec_f32{};
  }
  vec_f32 states[MAX_STATES] = {};
  const Channels_f32 channels(*p, 0, 0, BYTES / 4);
  for (int64_t round = 0; round < rounds; round++) walk_all_f32(*p, tile, channels, true, states);
  return sum_f32(tile.sum[0]);
}

extern "C" void add_arrays(const float *a, const float *b, float *to, int64_t size) {
  for (int64_t i = 0; i < size; i += BYTES / 4) *(vec_f32 *)(to + i) = *(const vec_f32 *)(a + i) + *(const vec_f32 *)(b + i);
}
