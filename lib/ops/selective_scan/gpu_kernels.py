"""Triton kernels of the selective scan on a GPU; imported by the first scan on a GPU.

A program computes one tile, T tokens by W channels of one scan of one image, state by state. A lane of the warp holds
all tokens of one channel in its registers. An associative scan over them is then the plain recurrence, no values are
exchanged between lanes, and all loads of the tile run at the same time. This requires one channel per lane. The stride
`one` of the channels is therefore hidden from the compiler, which would otherwise load four channels per lane and
distribute the tokens over lanes.

Shapes: u and dy ``(B, L, row)``, delta ``(G, B, L, E)``, B and C ``(B, L, G, N)``, columns (A times log2 e)
``(G, N, E)``, carries ``(B, G, chunks, N, E)``. `spread` and `span` are the strides of a token and of a scan in the
buffers that have a slice per scan.
"""

# pyright: reportArgumentType=false, reportGeneralTypeIssues=false
# Triton's type annotations describe compiled values, not the Python values of the source.
import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _compose(decay1, state1, decay2, state2):
    """Compose two spans of ``h -> decay h + state``; the earlier span is the first."""
    return decay1 * decay2, decay2 * state1 + state2


@triton.jit
def _compose_kept(decay1, kept1, new1, decay2, kept2, new2):
    """Compose two spans; `kept` is the decayed state at the last token before its input `new` is added."""
    return decay1 * decay2, kept2 + decay2 * (kept1 + new1), new2


@triton.jit
def _compose_adjoint(first1, state1, gain1, first2, state2, gain2):
    """Compose two spans of ``lam_l = c_l + a_(l+1) lam_(l+1)``, the later first; `first` is the decay at its start."""
    across = gain2 * first1
    return first2, state2 + across * state1, across * gain1


@triton.jit
def _softplus(x, TERMS: tl.constexpr):
    """Return max(x, 0) + 2 artanh(t / (2 + t)) with t = exp(-|x|); log(1 + t) would be inexact for small steps."""
    t = tl.exp2(-tl.abs(x) * LOG2_E)
    s = t / (2.0 + t)
    square = s * s
    series = tl.zeros_like(x) + 1.0 / (2 * TERMS - 1)
    for i in tl.static_range(1, TERMS):
        series = series * square + 1.0 / (2 * (TERMS - i) - 1)
    return tl.maximum(x, 0.0) + 2.0 * s * series


@triton.jit
def _positions(order, g, L, T: tl.constexpr, BACKWARDS: tl.constexpr, TIMES: tl.constexpr = 1):
    """Return the positions of the tokens of this chunk in the image, and a mask of the tokens that exist."""
    tokens = tl.program_id(0) * T + (T - 1 - tl.arange(0, T) if BACKWARDS else tl.arange(0, T * TIMES) // TIMES)
    inside = tokens < L
    positions = tokens if order is None else tl.load(order + g * L + tokens, mask=inside, other=0)
    return positions, inside


@triton.jit
def _steps(delta, bias, offsets, channels, mask, SOFTPLUS: tl.constexpr, TERMS: tl.constexpr, DTYPE: tl.constexpr):
    """Return the biased steps before softplus, and the steps; outside the image steps are zero and change no state."""
    raw = tl.load(delta + offsets, mask=mask, other=0.0).to(DTYPE)
    raw += tl.load(bias + channels, mask=mask, other=0.0)
    steps = _softplus(raw, TERMS) if SOFTPLUS else raw
    return raw, tl.where(mask, steps, 0.0)


@triton.jit
def _matrix_pointers(order, B, C, b, g, L, G, N: tl.constexpr, T: tl.constexpr):
    """Return alternating pointers to B and C of the tokens, for `_load_matrices`, and a mask of those that exist."""
    positions, inside = _positions(order, g, L, T, False, 2)
    pointers = tl.where(tl.arange(0, 2 * T) % 2 == 0, B, C)
    return pointers + ((b * L * G + g) * N + positions.to(tl.int64) * (G * N)), inside


@triton.jit
def _load_matrices(pointers, inside, T: tl.constexpr, DTYPE: tl.constexpr):
    """Return B and C of one state for every token.

    One load reads both matrices, one value per lane, and the values are distributed afterwards. If every lane read all
    values, each would need an address of two registers, and the registers are needed for the tile.
    """
    return tl.split(tl.reshape(tl.load(pointers, mask=inside, other=0.0).to(DTYPE), [T, 2]))


@triton.jit(do_not_specialize=["one"])
def chunk_ends(
    value, delta, columns, weights, bias, order, ends, totals,
    batch, L, E, G, chunks, row, group, one,
    N: tl.constexpr, ADJOINT: tl.constexpr, SOFTPLUS: tl.constexpr, TERMS: tl.constexpr, DTYPE: tl.constexpr,
    T: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Write the carry of each chunk for an initial state of zero, and the sum of its steps.

    The sum of the steps gives the decay over the chunk for every state. In the forward pass the carry is the state
    after the last token, computed from u and B. For the adjoint it is ``a lam`` of the first token, computed from dy
    and C.
    """
    scan = tl.program_id(2).to(tl.int64)
    b, g = scan // G, scan % G
    # The adjoint reads the tile from its end, because a reversed scan would exchange every value between lanes.
    positions, inside = _positions(order, g, L, T, ADJOINT)
    channels = tl.program_id(1) * W + tl.arange(0, W)
    known = channels < E
    mask = inside[:, None] & known[None, :]
    delta += (g * batch + b) * L * E
    offsets = positions[:, None] * E + channels[None, :] * one
    _, steps = _steps(delta, bias, offsets, (g * E + channels)[None, :], mask, SOFTPLUS, TERMS, DTYPE)
    value += b * L * row + g * group
    offsets = positions[:, None] * row + channels[None, :] * one
    x = tl.load(value + offsets, mask=mask, other=0.0).to(DTYPE)
    if not ADJOINT:
        x *= steps
    slot = scan * chunks + tl.program_id(0)
    tl.store(totals + slot * E + channels, tl.sum(steps, 0), mask=known)
    last = tl.arange(0, T)[:, None] == T - 1
    weights += (b * L * G + g) * N
    for n in range(N):
        column = tl.load(columns + (g * N + n) * E + channels, mask=known, other=0.0)
        decay = tl.exp2(steps * column[None, :])
        entering = (
            x * tl.load(weights + positions.to(tl.int64) * (G * N) + n, mask=inside, other=0.0).to(DTYPE)[:, None]
        )
        if ADJOINT:
            entering *= decay
        _, states = tl.associative_scan((decay, entering), 0, _compose)
        tl.store(ends + (slot * N + n) * E + channels, tl.sum(tl.where(last, states, 0.0), 0), mask=known)


@triton.jit
def carry_over(
    ends, totals, columns, chunks, E, G, width,
    ADJOINT: tl.constexpr, DTYPE: tl.constexpr, T: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Convert the carries for initial states of zero into the true carries, in place; W of N * E states a program."""
    scan = tl.program_id(1).to(tl.int64)
    states = tl.program_id(0) * W + tl.arange(0, W)
    known = states < width
    column = tl.load(columns + (scan % G) * width + states, mask=known, other=0.0)
    carry = tl.zeros([W], DTYPE)
    rows = tl.arange(0, T)
    for start in range(0, chunks, T):
        turn = start + rows
        slots = scan * chunks + (chunks - 1 - turn if ADJOINT else turn)
        mask = (turn < chunks)[:, None] & known[None, :]
        total = tl.load(totals + slots[:, None] * E + (states % E)[None, :], mask=mask, other=0.0)
        decay = tl.exp2(total * column[None, :])
        offsets = ends + slots[:, None] * width + states[None, :]
        end = tl.load(offsets, mask=mask, other=0.0)
        end = tl.where(rows[:, None] == 0, end + decay * carry[None, :], end)
        _, end = tl.associative_scan((decay, end), 0, _compose)
        tl.store(offsets, end, mask=mask)
        carry = tl.sum(tl.where(rows[:, None] == T - 1, end, 0.0), 0)


@triton.jit(do_not_specialize=["one"])
def scan_chunks(
    u, delta, columns, B, C, D, bias, order, carries, y,
    batch, L, E, G, chunks, row, group, spread, span, one,
    N: tl.constexpr, SOFTPLUS: tl.constexpr, TERMS: tl.constexpr, DTYPE: tl.constexpr,
    T: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Scan each chunk from the carry of the previous chunk, and write the output at the positions that were read."""
    scan = tl.program_id(2).to(tl.int64)
    b, g = scan // G, scan % G
    positions, inside = _positions(order, g, L, T, False)
    channels = tl.program_id(1) * W + tl.arange(0, W)
    known = channels < E
    mask = inside[:, None] & known[None, :]
    delta += (g * batch + b) * L * E
    offsets = positions[:, None] * E + channels[None, :] * one
    _, steps = _steps(delta, bias, offsets, (g * E + channels)[None, :], mask, SOFTPLUS, TERMS, DTYPE)
    u += b * L * row + g * group
    offsets = positions[:, None] * row + channels[None, :] * one
    x = tl.load(u + offsets, mask=mask, other=0.0).to(DTYPE)
    output = x * tl.load(D + g * E + channels, mask=known, other=0.0)[None, :]
    x *= steps
    before = (scan * chunks + tl.program_id(0) - 1) * N * E
    carried = known & (tl.program_id(0) > 0)
    first = tl.arange(0, T)[:, None] == 0
    pointers, pointers_inside = _matrix_pointers(order, B, C, b, g, L, G, N, T)
    for n in range(N):
        column = tl.load(columns + (g * N + n) * E + channels, mask=known, other=0.0)
        carry = tl.load(carries + before + n * E + channels, mask=carried, other=0.0)
        decay = tl.exp2(steps * column[None, :])
        weight, reading = _load_matrices(pointers + n, pointers_inside, T, DTYPE)
        entering = x * weight[:, None]
        entering = tl.where(first, entering + decay * carry[None, :], entering)
        _, states = tl.associative_scan((decay, entering), 0, _compose)
        output += states * reading[:, None]
    y += b * L * G * E + g * span
    offsets = positions[:, None] * spread + channels[None, :] * one
    tl.store(y + offsets, output, mask=mask)


@triton.jit(do_not_specialize=["one"])
def differentiate_chunks(
    dy, u, delta, columns, B, C, D, bias, order, carries, adjoints, du, ddelta, dA, dB, dC, dD, dbias,
    batch, L, E, G, chunks, row, group, spread, span, one,
    N: tl.constexpr, SOFTPLUS: tl.constexpr, TERMS: tl.constexpr, DTYPE: tl.constexpr,
    T: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Recompute the states of each chunk from its carry, combine them with the adjoint, and write every gradient.

    The caller computes the sums over chunks (dA, dD, dbias) and over blocks of channels (dB, dC). Every program writes
    its own slot, so no two programs add to the same element and runs are reproducible bit by bit.
    """
    scan = tl.program_id(2).to(tl.int64)
    b, g = scan // G, scan % G
    positions, inside = _positions(order, g, L, T, False)
    channels = tl.program_id(1) * W + tl.arange(0, W)
    known = channels < E
    mask = inside[:, None] & known[None, :]
    delta += (g * batch + b) * L * E
    offsets = positions[:, None] * E + channels[None, :] * one
    lanes = (g * E + channels)[None, :]
    _, steps = _steps(delta, bias, offsets, lanes, mask, SOFTPLUS, TERMS, DTYPE)
    u += b * L * row + g * group
    dy += b * L * row + g * group
    offsets = positions[:, None] * row + channels[None, :] * one
    x = tl.load(u + offsets, mask=mask, other=0.0).to(DTYPE)
    slope = tl.load(dy + offsets, mask=mask, other=0.0).to(DTYPE)
    slot = scan * chunks + tl.program_id(0)
    tl.store(dD + slot * E + channels, tl.sum(slope * x, 0), mask=known)
    x *= steps
    before = known & (tl.program_id(0) > 0)
    behind = known & (tl.program_id(0) + 1 < chunks)
    tokens = tl.arange(0, T)[:, None]
    matrices = positions.to(tl.int64) * (G * N)
    pointers, pointers_inside = _matrix_pointers(order, B, C, b, g, L, G, N, T)
    block = (tl.program_id(1) * batch + b) * L * G * N + g * N
    dinputs = tl.zeros([T, W], DTYPE)
    dsteps = tl.zeros([T, W], DTYPE)
    ones = tl.full([T, W], 1.0, DTYPE)
    for n in range(N):
        column = tl.load(columns + (g * N + n) * E + channels, mask=known, other=0.0)
        state = (slot * N + n) * E + channels
        carry = tl.load(carries + state - N * E, mask=before, other=0.0)
        later = tl.load(adjoints + state + N * E, mask=behind, other=0.0)
        weight, reading = _load_matrices(pointers + n, pointers_inside, T, DTYPE)
        decay = tl.exp2(steps * column[None, :])
        new = x * weight[:, None]
        kept = tl.where(tokens == 0, decay * carry[None, :], 0.0)
        _, kept, _ = tl.associative_scan((decay, kept, new), 0, _compose_kept)
        tl.store(dC + block + matrices + n, tl.sum(slope * (kept + new), 1), mask=inside)
        lam = slope * reading[:, None]
        lam = tl.where(tokens == T - 1, lam + later[None, :], lam)
        # Flip the tile and scan forwards: the scan stays within lanes, and a flip only renames registers.
        _, lam, _ = tl.associative_scan((tl.flip(decay, 0), tl.flip(lam, 0), ones), 0, _compose_adjoint)
        lam = tl.flip(lam, 0)
        tl.store(dB + block + matrices + n, tl.sum(lam * x, 1), mask=inside)
        dinputs += lam * weight[:, None]
        meeting = lam * kept
        dsteps += meeting * column[None, :]
        tl.store(dA + state, tl.sum(meeting * steps, 0), mask=known)
    du += b * L * G * E + g * span
    skip = tl.load(D + g * E + channels, mask=known, other=0.0)[None, :]
    target = positions[:, None] * spread + channels[None, :] * one
    tl.store(du + target, slope * skip + dinputs * steps, mask=mask)
    # Load u again, because the loop needs the registers.
    dsteps = dinputs * tl.load(u + offsets, mask=mask, other=0.0).to(DTYPE) + dsteps * LN_2
    offsets = positions[:, None] * E + channels[None, :] * one
    if SOFTPLUS:
        raw, _ = _steps(delta, bias, offsets, lanes, mask, False, TERMS, DTYPE)
        dsteps *= 1.0 / (1.0 + tl.exp2(-raw * LOG2_E))
    dsteps = tl.where(mask, dsteps, 0.0)
    ddelta += (g * batch + b) * L * E
    tl.store(ddelta + offsets, dsteps, mask=mask)
    tl.store(dbias + slot * E + channels, tl.sum(dsteps, 0), mask=known)
