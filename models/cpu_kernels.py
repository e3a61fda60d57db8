"""What a training step does beside its products, as loops compiled for the CPU: one pass each.

Speed only: whoever calls one of these also says the same in tensor operations, which is what a GPU
runs and what the tests compare with. They let go of Python's lock, so that the populations of
several threads do run side by side.

Arrays are contiguous; their first axis is the networks, n of them, and each has m numbers.
bfloat16, which NumPy lacks, comes as uint16: the upper half of a float32. No result depends on the
processor: sums are taken one by one, nothing is reordered.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

compiled = njit(nogil=True, error_model="numpy")
"""At the first call, in each process anew: half a second a loop. numba's cache on disk is not made
for processes that fill it at once: one may find another's loop in it, and would leave out the
weight decay without a word."""

BFLOAT16 = np.dtype(np.uint16)
"""As these loops see it."""
BLOCK = 2048
"""Numbers that are worked on at a time, in float32 within the fastest cache."""


def serve(*tensors: Tensor) -> bool:
    """Return True if all are what these loops work on: in a CPU's memory, float32 or bfloat16."""
    return all(
        t.device.type == "cpu" and t.dtype in (torch.float32, torch.bfloat16) for t in tensors
    )


def array(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory as NumPy's, bfloat16 as uint16."""
    own = tensor.detach() if tensor.requires_grad else tensor
    return (own.view(torch.uint16) if own.dtype == torch.bfloat16 else own).numpy()


@compiled
def widen(source, into):
    """Copy `source`, float32 or bfloat16, into a float32 buffer."""
    if source.dtype == BFLOAT16:  # known when this is compiled
        bits = into.view(np.uint32)
        for j in range(source.size):
            bits[j] = np.uint32(source[j]) << np.uint32(16)
    else:
        for j in range(source.size):
            into[j] = source[j]


@compiled
def narrow(source, into):
    """Copy a float32 buffer into float32 or bfloat16: rounded to nearest, ties to even."""
    if into.dtype == BFLOAT16:
        bits = source.view(np.uint32)
        for j in range(into.size):
            half = np.uint32(0x7FFF) + ((bits[j] >> np.uint32(16)) & np.uint32(1))
            rounded = (bits[j] + half) >> np.uint32(16)
            into[j] = np.uint16(np.uint32(0x7FC0) if source[j] != source[j] else rounded)
    else:
        for j in range(into.size):
            into[j] = source[j]


@compiled
def draw(state, counter, numbers):
    """Fill `numbers`, int16 (streams, a multiple of 4 lanes), with each lane's next 64 bits.

    Their states move on: `state`, uint64 (streams, 3, lanes), and `counter`, (streams,), the fourth
    number of a state, the same for all lanes of a stream.

    Source: SFC64 of PractRand (Doty-Humphrey), as NumPy has it: the same numbers, many generators
    side by side.
    """
    lanes = state.shape[2]
    for i in range(numbers.shape[0]):
        a, b, c = state[i, 0], state[i, 1], state[i, 2]
        count = counter[i]
        drawn_of_all = numbers[i].view(np.uint64)
        for start in range(0, drawn_of_all.size, lanes):
            row = drawn_of_all[start : start + lanes]
            for j in range(lanes):
                x, y, z = a[j], b[j], c[j]
                drawn = x + y + count
                a[j] = y ^ (y >> np.uint64(11))
                b[j] = z + (z << np.uint64(3))
                c[j] = ((z << np.uint64(24)) | (z >> np.uint64(40))) + drawn
                row[j] = drawn
            count += np.uint64(1)
        counter[i] = count


@compiled
def look_up(table, bits, found):
    """Fill `found` with the entries of a table of 65,536 at `bits`, int16, of which -32768 is the
    first."""
    places, entries = bits.reshape(-1), found.reshape(-1)
    for j in range(places.size):
        entries[j] = table[np.int32(places[j]) + np.int32(32768)]


@compiled
def masked(x, bits, rate, result):
    """Fill `result` with x/(1-p), but 0 where `bits`, int16, are of the lowest share p; all (n, m),
    rate p (n,)."""
    buffer = np.empty(BLOCK, np.float32)
    n = x.shape[0]
    x, bits, result = x.reshape(n, -1), bits.reshape(n, -1), result.reshape(n, -1)
    for i in range(n):
        dropped = np.rint(rate[i] * 65536)
        least, factor = np.int32(dropped) - np.int32(32768), np.float32(65536 / (65536 - dropped))
        for start in range(0, x.shape[1], BLOCK):
            part, drawn = x[i, start : start + BLOCK], bits[i, start : start + BLOCK]
            widen(part, buffer)
            for j in range(part.size):
                buffer[j] = buffer[j] * (factor if drawn[j] >= least else np.float32(0))
            narrow(buffer, result[i, start : start + BLOCK])


@compiled
def masked_relu(z, bits, rate):
    """z (n, m) becomes ReLU(z)/(1-p), but 0 where `bits`, int16 (n, m), are of the lowest share p;
    rate p (n,)."""
    buffer = np.empty(BLOCK, np.float32)
    n = z.shape[0]
    z, bits = z.reshape(n, -1), bits.reshape(n, -1)
    for i in range(n):
        dropped = np.rint(rate[i] * 65536)
        least, factor = np.int32(dropped) - np.int32(32768), np.float32(65536 / (65536 - dropped))
        for start in range(0, z.shape[1], BLOCK):
            part, drawn = z[i, start : start + BLOCK], bits[i, start : start + BLOCK]
            widen(part, buffer)
            for j in range(part.size):
                out = (buffer[j] <= 0) | (drawn[j] < least)  # a NaN that is kept stays one
                buffer[j] = np.float32(0) if out else buffer[j] * factor
            narrow(buffer, part)


@compiled
def masked_relu_gradient(gradient, h, rate, result):
    """Fill `result` with the gradient of z, from that of h, which `masked_relu` made of z; all (n,
    m)."""
    buffer, active = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    n = h.shape[0]
    gradient, h, result = gradient.reshape(n, -1), h.reshape(n, -1), result.reshape(n, -1)
    for i in range(n):
        factor = np.float32(65536 / (65536 - np.rint(rate[i] * 65536)))
        for start in range(0, h.shape[1], BLOCK):
            part = result[i, start : start + BLOCK]
            widen(gradient[i, start : start + BLOCK], buffer)
            widen(h[i, start : start + BLOCK], active)
            for j in range(part.size):
                buffer[j] = np.float32(0) if active[j] <= 0 else buffer[j] * factor
            narrow(buffer, part)


@compiled
def slopes(z, bits, table, coefficients, found):
    """Fill `found` with a + b t where z > 0, with c + d t elsewhere; t the entry of a table of
    65,536 at `bits`, int16; (a, b, c, d) float32 (n, 4), the others (n, m)."""
    buffer, t = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    n = z.shape[0]
    z, bits, found = z.reshape(n, -1), bits.reshape(n, -1), found.reshape(n, -1)
    for i in range(n):
        a, b, c, d = coefficients[i]
        for start in range(0, z.shape[1], BLOCK):
            part, drawn = z[i, start : start + BLOCK], bits[i, start : start + BLOCK]
            widen(part, buffer)
            for j in range(part.size):  # a loop of its own: what follows is then vectorised
                t[j] = table[np.int32(drawn[j]) + np.int32(32768)]
            for j in range(part.size):
                buffer[j] = a + b * t[j] if buffer[j] > 0 else c + d * t[j]
            narrow(buffer, found[i, start : start + BLOCK])


@compiled
def shift(images, down, across, moved):
    """Fill `moved` with each image's pixels from `down` rows below and `across` columns to the
    right, zeros from outside; images (n, side, side) of any kind of number, int64 (n,)."""
    side = images.shape[1]
    for i in range(images.shape[0]):
        first, last = max(0, -across[i]), min(side, side - across[i])
        for row in range(side):
            into, source = moved[i, row], row + down[i]
            if 0 <= source < side:
                into[:first] = 0
                into[first:last] = images[i, source, first + across[i] : last + across[i]]
                into[last:] = 0
            else:
                into[:] = 0


@compiled
def warp(images, maps, furthest, moved):
    """Fill `moved` with each image's pixels, interpolated, from where its map says: at most
    `furthest` pixels off in each direction, zeros from outside.

    images (n, side, side) float32 or bfloat16; maps float32 (n, 2, 3): the way down, then across, a
    constant and factors of a pixel's row and column from the centre.
    """
    n, side = images.shape[:2]
    frame, centre, most = furthest + 1, np.float32(side - 1) / np.float32(2), np.float32(furthest)
    width, pixels = side + 2 * frame, side * side
    images, moved = images.reshape(n, pixels), moved.reshape(n, pixels)
    framed = np.zeros((width, width), np.float32)
    flat = framed.reshape(-1)
    down, across = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    for j in range(pixels):
        down[j], across[j] = np.float32(j // side) - centre, np.float32(j % side) - centre
    corner, found = np.empty(pixels, np.uint32), np.empty(pixels, np.float32)
    x, y = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    right, under, both = np.uint32(1), np.uint32(width), np.uint32(width + 1)
    start = centre + np.float32(frame)
    for i in range(n):
        widen(images[i], found)
        for row in range(side):
            for column in range(side):
                framed[frame + row, frame + column] = found[row * side + column]
        (a, b, c), (d, e, f) = maps[i, 0], maps[i, 1]
        # Loops of their own, over all pixels: each is then vectorised.
        for j in range(pixels):
            y[j] = start + down[j] + min(max(a + b * down[j] + c * across[j], -most), most)
            x[j] = start + across[j] + min(max(d + e * down[j] + f * across[j], -most), most)
        for j in range(pixels):
            up, left = np.uint32(y[j]), np.uint32(x[j])
            corner[j] = up * under + left
            y[j] -= np.float32(up)
            x[j] -= np.float32(left)
        for j in range(pixels):
            at = corner[j]
            above = flat[at] + x[j] * (flat[at + right] - flat[at])
            below = flat[at + under]
            below += x[j] * (flat[at + both] - flat[at + under])
            found[j] = above + y[j] * (below - above)
        narrow(found, moved[i])


@compiled
def swapped(x, partners, bits, least, result):
    """Fill `result` with x, but the partner's entry where `bits`, int16, are below `least`, int16
    (n,); the others (n, m)."""
    n = x.shape[0]
    x, partners = x.reshape(n, -1), partners.reshape(n, -1)
    bits, result = bits.reshape(n, -1), result.reshape(n, -1)
    for i in range(n):
        for j in range(x.shape[1]):
            result[i, j] = partners[i, j] if bits[i, j] < least[i] else x[i, j]


@compiled
def lengths(x, found):
    """Fill `found`, float32 (n, units), with the Euclidean length of each of x's columns, (n, rows,
    units); summed from the first row on, as PyTorch does."""
    wide = np.empty(x.shape[2], np.float32)
    for i in range(x.shape[0]):
        sums = found[i]
        sums[:] = 0
        for row in range(x.shape[1]):
            widen(x[i, row], wide)
            for j in range(wide.size):
                sums[j] += wide[j] * wide[j]
        for j in range(wide.size):
            sums[j] = np.sqrt(sums[j])


@compiled
def sgd(weight, rounded, gradient, velocity, decay, momentum, learning_rate):
    """One step of SGD: weight float32 (n, m), its copy in the gradient's precision or none,
    velocity or none.

    velocity = momentum velocity + gradient + decay weight; weight -= learning_rate velocity; decay
    is (n,) or none.
    """
    buffer, held = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    gradient = gradient.reshape(weight.shape)
    for i in range(weight.shape[0]):
        for start in range(0, weight.shape[1], BLOCK):
            part = weight[i, start : start + BLOCK]
            widen(gradient[i, start : start + BLOCK], buffer)
            widen(part, held)
            if decay is not None:
                for j in range(part.size):
                    buffer[j] += decay[i] * held[j]
            if velocity is not None:
                moving = velocity[i, start : start + BLOCK]
                for j in range(part.size):
                    buffer[j] += momentum * moving[j]
                narrow(buffer, moving)
            for j in range(part.size):
                held[j] -= learning_rate * buffer[j]
            narrow(held, part)
            if rounded is not None:
                narrow(held, rounded[i, start : start + BLOCK])
