// The selective scan for one floating type; included once per type by scan.cpp, which defines REAL, LANES and NAME.
//
// A vector holds LANES channels of one token. Operands are channels-last: u, y (L, E); B, C (L, G, N); A transposed,
// (N, E), and multiplied by log2(e). With an order (G, L) the groups are scans of one image: every group reads the tokens
// of u (L, E / G) in its own order, and y (L, E / G) is the sum of the outputs of the groups.

#define vec NAME(vec)

// Read and write a whole vector at once, not by memcpy, because the compiler would copy its halves through the stack.
static inline vec NAME(load)(const REAL *from, int64_t count) {
  if (count >= LANES) return *(const vec *)from;
  vec v = {};
  for (int64_t i = 0; i < count; i++) v[i] = from[i];
  return v;
}

static inline void NAME(store)(REAL *to, vec v, int64_t count) {
  if (count >= LANES) *(vec *)to = v;
  else for (int64_t i = 0; i < count; i++) to[i] = v[i];
}

static inline REAL NAME(sum)(vec v) {
  REAL total = 0;
  for (int i = 0; i < LANES; i++) total += v[i];
  return total;
}

static inline vec NAME(absolute)(vec x) { return x < 0 ? -x : x; }

// softplus(x) = max(x, 0) + 2 artanh(s) with t = exp(-|x|), s = t / (2 + t) <= 1/3; the slope is the logistic function.
template <bool SLOPE, int COUNT> static inline void NAME(softplus)(vec *x, vec *slope) {
  vec t[COUNT], s[COUNT], q[COUNT], series[COUNT];
  EACH t[i] = NAME(absolute)(x[i]) * (REAL)-LOG2_E;
  NAME(exp2)<false>(t);
  if (SLOPE) EACH slope[i] = (x[i] < 0 ? t[i] : vec{} + 1) / (t[i] + (REAL)1);
  EACH s[i] = t[i] / (t[i] + (REAL)2), q[i] = s[i] * s[i], series[i] = vec{} + (REAL)1 / SOFTPLUS_TOP;
  for (int power = SOFTPLUS_TOP - 2; power > 0; power -= 2) EACH series[i] = series[i] * q[i] + (REAL)1 / power;
  EACH x[i] = (x[i] > 0 ? x[i] : vec{}) + 2 * s[i] * series[i];
}

static inline int64_t NAME(place)(const NAME(Problem) & p, int64_t group, int64_t l) {
  return p.order ? p.order[group * p.L + l] : l;
}

// One tile of tokens of one group, in the order of its scan, with the values of one vector of channels. The values are
// staged in the L1 cache, so that projection, softplus and memory access overlap between tokens and the states can stay in
// registers afterwards.
struct NAME(Tile) {
  int64_t size, token[TILE];
  vec step[TILE], slope[TILE], input[TILE], sum[TILE];
};

static inline void NAME(enter)(const NAME(Problem) & p, NAME(Tile) & tile, int64_t batch, int64_t group, int64_t from) {
  tile.size = std::min<int64_t>(TILE, p.L - from);
  for (int64_t k = 0; k < TILE; k++)
    tile.token[k] = batch * p.L + NAME(place)(p, group, std::min(from + k, p.L - 1));
}

// One vector of channels: `count` channels from `first` on within a group; `at` is the index of the first among all groups.
struct NAME(Channels) {
  int64_t group, first, count, at;
  NAME(Channels)(const NAME(Problem) & p, int64_t group, int64_t first, int64_t last)
      : group(group), first(first), count(last - first), at(group * (p.E / p.G) + first) {}
};

// The rows of one tile, contiguous and padded to whole vectors. The tokens of an image can map to the same cache sets, for
// example along the columns of an image of 64 x 64. So every row is read once as a whole and written once.
struct NAME(Rows) {
  int64_t first, width, padded, stride;
  std::vector<REAL> values;
  NAME(Rows)(int64_t first, int64_t width, int64_t stride)
      : first(first), width(width), padded((width + LANES - 1) / LANES * LANES), stride(stride), values(TILE * padded) {}
  inline vec &at(int64_t k, int64_t block) { return *(vec *)&values[k * padded + block * LANES]; }
  inline void take(const NAME(Tile) & tile, const REAL *from) {
    for (int64_t k = 0; k < TILE; k++)
      memcpy(&values[k * padded], from + tile.token[k] * stride + first, width * sizeof(REAL));
  }
  inline void give(const NAME(Tile) & tile, REAL *to, bool add) const {
    for (int64_t k = 0; k < tile.size; k++) {
      const REAL *row = &values[k * padded];
      REAL *target = to + tile.token[k] * stride + first;
      if (add) for (int64_t e = 0; e < width; e++) target[e] += row[e];
      else memcpy(target, row, width * sizeof(REAL));
    }
  }
};

// Compute the biased steps before softplus.
static inline void NAME(raw_steps)(const NAME(Problem) & p, NAME(Tile) & tile, const NAME(Channels) & c, NAME(Rows) & delta,
                                   int64_t block) {
  const vec bias = NAME(load)(p.bias + c.at, c.count);
  if (!p.ranks) {
    for (int64_t k = 0; k < TILE; k++) tile.step[k] = delta.at(k, block) + bias;
    return;
  }
  vec weight[MAX_RANKS];
  for (int64_t r = 0; r < p.ranks; r++)
    weight[r] = NAME(load)(p.weight + (c.group * p.ranks + r) * (p.E / p.G) + c.first, c.count);
  for (int64_t k = 0; k < tile.size; k += 4) {
    const REAL *dt[4];
    vec sum[4];
    for (int j = 0; j < 4; j++) dt[j] = p.delta + (tile.token[k + j] * p.G + c.group) * p.ranks, sum[j] = bias;
    for (int64_t r = 0; r < p.ranks; r++)
      for (int j = 0; j < 4; j++) sum[j] += dt[j][r] * weight[r];
    for (int j = 0; j < 4; j++) tile.step[k + j] = sum[j];
  }
}

// Fill the tile. Return whether every decay of this tile is in the range of exp2; `steepest` is the largest |A| per channel.
template <bool SLOPE>
static inline bool NAME(stage)(const NAME(Problem) & p, NAME(Tile) & tile, const NAME(Channels) & c, NAME(Rows) & x,
                               NAME(Rows) & delta, int64_t block, vec steepest) {
  NAME(raw_steps)(p, tile, c, delta, block);
  vec reach = {};
  for (int64_t k = 0; p.use_softplus && k < tile.size; k += 4) NAME(softplus)<SLOPE, 4>(tile.step + k, tile.slope + k);
  for (int64_t k = 0; k < tile.size; k++) {
    tile.input[k] = tile.step[k] * x.at(k, block);
    const vec length = NAME(absolute)(tile.step[k]);
    reach = length > reach ? length : reach;
  }
  // After the last token there is no decay and no input.
  for (int64_t k = tile.size; k < TILE; k++) tile.step[k] = tile.input[k] = vec{};
  bool safe = true;
  for (int i = 0; i < LANES; i++) safe &= reach[i] * steepest[i] < RANGE;
  return safe;
}

static inline vec NAME(steepest)(const NAME(Problem) & p, const NAME(Channels) & c) {
  vec most = {};
  for (int64_t n = 0; n < p.N; n++) {
    const vec a = NAME(absolute)(NAME(load)(p.A + n * p.E + c.at, c.count));
    most = a > most ? a : most;
  }
  return most;
}

// Run STATES states from `n` on through the tile. Add their outputs to the sums of the tile, or with KEEP store the states
// and their decays instead.
template <int STATES, bool SAFE, bool KEEP>
static inline void NAME(walk)(const NAME(Problem) & p, NAME(Tile) & tile, const NAME(Channels) & c, int64_t n, vec *states,
                              vec (*kept)[STATES] = nullptr, vec (*decays)[STATES] = nullptr) {
  constexpr int TOKENS = ABREAST / STATES;  // tokens whose decays are computed at a time, enough to hide the latency
  vec h[STATES], A[STATES];
  for (int i = 0; i < STATES; i++) h[i] = states[n + i], A[i] = NAME(load)(p.A + (n + i) * p.E + c.at, c.count);
  for (int64_t k = 0; k < tile.size; k += TOKENS) {
    vec decay[ABREAST];
    for (int j = 0; j < TOKENS; j++)
      for (int i = 0; i < STATES; i++) decay[j * STATES + i] = tile.step[k + j] * A[i];
    NAME(exp2)<SAFE>(decay);
    for (int j = 0; j < TOKENS; j++) {
      const int64_t at = (tile.token[k + j] * p.G + c.group) * p.N + n;
      const REAL *B = p.B + at, *C = p.C + at;
      const vec input = tile.input[k + j];
      vec even = {}, odd = {};
      if (!KEEP) even = tile.sum[k + j];
      for (int i = 0; i < STATES; i++) {
        if (KEEP) kept[k + j][i] = h[i], decays[k + j][i] = decay[j * STATES + i];
        h[i] = decay[j * STATES + i] * h[i] + input * B[i];
        if (!KEEP && i % 2) odd += h[i] * C[i];
        if (!KEEP && i % 2 == 0) even += h[i] * C[i];
      }
      if (!KEEP) tile.sum[k + j] = STATES > 1 ? even + odd : even;
    }
  }
  for (int i = 0; i < STATES; i++) states[n + i] = h[i];
}

static inline void NAME(walk_all)(const NAME(Problem) & p, NAME(Tile) & tile, const NAME(Channels) & c, bool safe, vec *states) {
  for (int64_t n = 0; n < p.N;)
    if (p.N - n >= ABREAST) {
      if (safe) NAME(walk)<ABREAST, true, false>(p, tile, c, n, states);
      else NAME(walk)<ABREAST, false, false>(p, tile, c, n, states);
      n += ABREAST;
    } else {
      NAME(walk)<1, false, false>(p, tile, c, n, states);
      n++;
    }
}

// Return the address of state n of some channels before a tile.
static inline REAL *NAME(start)(const NAME(Problem) & p, const NAME(Channels) & c, int64_t batch, int64_t tile, int64_t n) {
  return p.starts + ((batch * ((p.L + TILE - 1) / TILE) + tile) * p.N + n) * p.E + c.at;
}

static void NAME(forward_task)(const NAME(Problem) & p, int64_t batch, int64_t group, int64_t first, int64_t last) {
  const int64_t blocks = (last - first + LANES - 1) / LANES, width = p.E / p.G;
  std::vector<vec> states(blocks * p.N, vec{}), steepest(blocks);
  for (int64_t block = 0; block < blocks; block++)
    steepest[block] = NAME(steepest)(p, NAME(Channels)(p, group, first + block * LANES, last));
  NAME(Tile) tile;
  NAME(Rows) delta(group * width + first, last - first, p.E);
  NAME(Rows) x(first + (p.order ? 0 : group * width), last - first, p.order ? width : p.E), y = x;
  for (int64_t start = 0; start < p.L; start += TILE) {
    NAME(enter)(p, tile, batch, group, start);
    x.take(tile, p.u);
    if (!p.ranks) delta.take(tile, p.delta);
    for (int64_t block = 0; block < blocks; block++) {
      const NAME(Channels) c(p, group, first + block * LANES, last);
      const bool safe = NAME(stage)<false>(p, tile, c, x, delta, block, steepest[block]);
      const vec D = NAME(load)(p.D + c.at, c.count);
      vec *h = &states[block * p.N];
      for (int64_t n = 0; p.starts && n < p.N; n++) NAME(store)(NAME(start)(p, c, batch, start / TILE, n), h[n], c.count);
      for (int64_t k = 0; k < tile.size; k++) tile.sum[k] = D * x.at(k, block);
      NAME(walk_all)(p, tile, c, safe, h);
      for (int64_t k = 0; k < tile.size; k++) y.at(k, block) = tile.sum[k];
    }
    y.give(tile, p.y, p.order && group > 0);
  }
}

// Run COUNT states from `n` on backwards through the tile, and add to the gradients of B and C (`sumB`, `sumC`) and of the
// steps and inputs of the tile (`dstep`, `dinput`). `later` holds the adjoint that the tokens after the tile pass back.
template <int COUNT, bool SAFE>
static inline void NAME(retrace)(const NAME(Problem) & p, NAME(Tile) & tile, const NAME(Channels) & c, int64_t n, vec *states,
                                 const vec *dy, vec *later, vec *dA, vec *sumB, vec *sumC, vec *dstep, vec *dinput) {
  vec kept[TILE][COUNT], decays[TILE][COUNT], h[COUNT], g[COUNT], A[COUNT], slopes[COUNT];
  NAME(walk)<COUNT, SAFE, true>(p, tile, c, n, states, kept, decays);
  for (int i = 0; i < COUNT; i++) {
    // p.A holds A log2(e); the gradient of the step needs A itself.
    A[i] = NAME(load)(p.A + (n + i) * p.E + c.at, c.count) * (REAL)LN_2;
    h[i] = states[n + i], g[i] = later[n + i], slopes[i] = dA[n + i];
  }
  for (int64_t k = tile.size - 1; k >= 0; k--) {
    const int64_t at = (tile.token[k] * p.G + c.group) * p.N + n;
    const REAL *B = p.B + at, *C = p.C + at;
    vec *toB = sumB + k * p.N + n, *toC = sumC + k * p.N + n;
    vec to_input = dinput[k], to_step = dstep[k];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; i++) {
      toC[i] += dy[k] * h[i];
      g[i] += dy[k] * C[i];
      toB[i] += g[i] * tile.input[k];
      to_input += g[i] * B[i];
      g[i] *= decays[k][i];
      h[i] = kept[k][i];
      const vec slope = g[i] * h[i];
      slopes[i] += slope * tile.step[k];
      to_step += slope * A[i];
    }
    dinput[k] = to_input, dstep[k] = to_step;
  }
  for (int i = 0; i < COUNT; i++) later[n + i] = g[i], dA[n + i] = slopes[i];
}

// Compute the gradients of the channels [first, last) of one group; dB, dC and ddt are this task's part of the workspace.
static void NAME(backward_task)(const NAME(Problem) & p, const NAME(Gradients) & d, int64_t batch, int64_t group,
                                int64_t first, int64_t last, REAL *dB, REAL *dC, REAL *ddt) {
  const int64_t E = p.E, L = p.L, N = p.N, R = p.ranks, blocks = (last - first + LANES - 1) / LANES;
  const int64_t tiles = (L + TILE - 1) / TILE;
  std::vector<vec> h(N), later(blocks * N, vec{}), steepest(blocks);
  std::vector<vec> sumB(TILE * N), sumC(TILE * N), dA(blocks * N, vec{}), dD(blocks, vec{}), dbias(blocks, vec{});
  std::vector<vec> dweight(R * blocks, vec{});
  const int64_t width = E / p.G;
  NAME(Tile) tile;
  NAME(Rows) delta(group * width + first, last - first, E), dsteps = delta;
  NAME(Rows) x(first + (p.order ? 0 : group * width), last - first, p.order ? width : E), dy = x, du = x;
  auto channels = [&](int64_t block) { return NAME(Channels)(p, group, first + block * LANES, last); };
  for (int64_t block = 0; block < blocks; block++) steepest[block] = NAME(steepest)(p, channels(block));
  for (int64_t t = tiles - 1; t >= 0; t--) {
    const int64_t from = t * TILE;
    NAME(enter)(p, tile, batch, group, from);
    x.take(tile, p.u);
    dy.take(tile, d.dy);
    if (!R) delta.take(tile, p.delta);
    std::fill(sumB.begin(), sumB.end(), vec{});
    std::fill(sumC.begin(), sumC.end(), vec{});
    for (int64_t block = 0; block < blocks; block++) {
      const NAME(Channels) c = channels(block);
      const bool safe = NAME(stage)<true>(p, tile, c, x, delta, block, steepest[block]);
      vec back[TILE], dstep[TILE] = {}, dinput[TILE] = {};
      for (int64_t k = 0; k < tile.size; k++) back[k] = dy.at(k, block);
      vec *g = &later[block * N], *a = &dA[block * N];
      for (int64_t n = 0; n < N; n++) h[n] = NAME(load)(NAME(start)(p, c, batch, t, n), c.count);
      for (int64_t n = 0; n < N;)
        if (N - n >= ABREAST) {
          if (safe) NAME(retrace)<ABREAST, true>(p, tile, c, n, h.data(), back, g, a, sumB.data(), sumC.data(), dstep, dinput);
          else NAME(retrace)<ABREAST, false>(p, tile, c, n, h.data(), back, g, a, sumB.data(), sumC.data(), dstep, dinput);
          n += ABREAST;
        } else {
          NAME(retrace)<1, false>(p, tile, c, n, h.data(), back, g, a, sumB.data(), sumC.data(), dstep, dinput);
          n++;
        }
      const vec D = NAME(load)(p.D + c.at, c.count);
      for (int64_t k = 0; k < tile.size; k++) {
        vec to_step = dstep[k] + dinput[k] * x.at(k, block);
        if (p.use_softplus) to_step *= tile.slope[k];
        dD[block] += back[k] * x.at(k, block);
        dbias[block] += to_step;
        du.at(k, block) = D * back[k] + dinput[k] * tile.step[k];
        dsteps.at(k, block) = to_step;
      }
    }
    du.give(tile, d.du, p.order && group);
    if (!R) dsteps.give(tile, d.ddelta, false);
    for (int64_t r = 0; r < R; r++)
      for (int64_t block = 0; block < blocks; block++) {
        vec total = dweight[r * blocks + block];
        for (int64_t k = 0; k < tile.size; k++)
          total += p.delta[(tile.token[k] * p.G + group) * R + r] * dsteps.at(k, block);
        dweight[r * blocks + block] = total;
      }
    for (int64_t k = 0; R && k < tile.size; k++)
      for (int64_t r = 0; r < p.padded; r += LANES) {
        vec total = {};
        const REAL *rows = p.weight_rows + (group * (E / p.G) + first) * p.padded + r;
        for (int64_t e = 0; e < last - first; e++) total += dsteps.values[k * dsteps.padded + e] * NAME(load)(rows + e * p.padded, LANES);
        NAME(store)(ddt + (from + k) * p.padded + r, total, LANES);
      }
    for (int64_t k = 0; k < tile.size * N; k++) dB[from * N + k] = NAME(sum)(sumB[k]), dC[from * N + k] = NAME(sum)(sumC[k]);
  }
  for (int64_t block = 0; block < blocks; block++) {
    const NAME(Channels) c = channels(block);
    for (int64_t r = 0; r < R; r++)
      NAME(store)(d.dweight + ((batch * p.G + group) * R + r) * (E / p.G) + c.first, dweight[r * blocks + block], c.count);
    NAME(store)(d.dD + batch * E + c.at, dD[block], c.count);
    NAME(store)(d.dbias + batch * E + c.at, dbias[block], c.count);
    for (int64_t n = 0; n < N; n++) NAME(store)(d.dA + (batch * N + n) * E + c.at, dA[block * N + n], c.count);
  }
}

// Run task(batch, group, first channel, last channel) over strips of `width` channels. The scans of one image add to the
// same result, so one thread runs them all, in their order.
template <class Task> static void NAME(share)(const NAME(Problem) & p, int64_t width, Task task) {
  const int64_t per_group = p.E / p.G, strips = (per_group + width - 1) / width;
  const int64_t abreast = p.order ? 1 : p.G, in_turn = p.G / abreast;
#pragma omp parallel for num_threads(p.threads) schedule(static)
  for (int64_t i = 0; i < p.batch * abreast * strips; i++)
    for (int64_t turn = 0; turn < in_turn; turn++) {
      const int64_t first = i % strips * width;
      task(i / (abreast * strips), i / strips % abreast + turn, first, std::min(per_group, first + width));
    }
}

extern "C" int NAME(scan_forward)(const NAME(Problem) * p) {
  if (p->N > MAX_STATES || p->ranks > MAX_RANKS) return 1;
  const int64_t even = p->E * p->batch / (p->order ? p->G : 1) / p->threads / STRIP * STRIP;
  NAME(share)(*p, std::max<int64_t>(STRIP, std::min(even, p->E / p->G)), [&](int64_t batch, int64_t group, int64_t first, int64_t last) {
    NAME(forward_task)(*p, batch, group, first, last);
  });
  return 0;
}

// The slabs of channels do not depend on the number of threads, so the sums do not depend on it either. dA, dD, dbias and
// dweight are returned per image; dB, dC and the gradient of dt are summed over the slabs in order.
extern "C" int NAME(scan_backward)(const NAME(Problem) * problem, const NAME(Gradients) * gradients) {
  const NAME(Problem) &p = *problem;
  const NAME(Gradients) &d = *gradients;
  if (p.N > MAX_STATES || p.ranks > MAX_RANKS) return 1;
  const int64_t per_group = p.E / p.G, slabs = (per_group + SLAB - 1) / SLAB, states = p.L * p.N, steps = p.L * p.padded;
  const int64_t size = 2 * states + steps;
  std::vector<REAL> work(p.batch * p.G * slabs * size);
  NAME(share)(p, SLAB, [&](int64_t batch, int64_t group, int64_t first, int64_t last) {
    REAL *own = &work[((batch * p.G + group) * slabs + first / SLAB) * size];
    NAME(backward_task)(p, d, batch, group, first, last, own, own + states, own + 2 * states);
  });
#pragma omp parallel for num_threads(p.threads) schedule(static)
  for (int64_t pair = 0; pair < p.batch * p.G; pair++)
    for (int64_t l = 0; l < p.L; l++) {
      const int64_t token = (pair / p.G * p.L + NAME(place)(p, pair % p.G, l)) * p.G + pair % p.G;
      auto add = [&](REAL *to, int64_t count, int64_t at) {
        std::fill(to, to + count, (REAL)0);
        for (int64_t s = 0; s < slabs; s++)
          for (int64_t i = 0; i < count; i++) to[i] += work[(pair * slabs + s) * size + at + i];
      };
      add(d.dB + token * p.N, p.N, l * p.N);
      add(d.dC + token * p.N, p.N, states + l * p.N);
      if (p.ranks) add(d.ddelta + token * p.ranks, p.ranks, 2 * states + l * p.padded);
    }
  return 0;
}
#undef vec
