"""Compiled part of `sums`: vector code that numba does not find by itself."""


# mypy: ignore-errors

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_I64, _I32, _F64 = ir.IntType(64), ir.IntType(32), ir.DoubleType()
#: Patterns fetched ahead.
_AHEAD = 2


@njit(nogil=True, cache=True)
def sum_patterns(addresses, offsets, masks, ends, first, second, swapped, sample, out):
    """See `sums.sums`; `sample` is an empty array that tells the dtype."""
    patterns = addresses.shape[0]
    for p in range(patterns):
        ahead = addresses[min(p + _AHEAD, patterns - 1)]
        out[p, 0], out[p, 1] = _sum_pattern(
            addresses[p], ahead, offsets, masks, ends, first, second, swapped, sample, len(ends)
        )


@intrinsic
def _sum_pattern(typing, here, ahead, offsets, masks, ends, first, second, swapped, sample, groups):
    """Sum the pattern at address `here`, and fetch the one at `ahead`."""
    given = (here, ahead, offsets, masks, ends, first, second, swapped, sample, groups)
    signature = types.UniTuple(types.float64, 2)(*given)

    def generate(context, builder, signature, values):
        code = _Pattern(context, builder, signature.args, values)
        return context.make_tuple(builder, signature.return_type, code.sums())

    return signature, generate


class _Pattern:
    """Writes the loops over the groups of blocks of one pattern."""

    def __init__(self, context, builder, kinds, values):
        self.builder = builder
        self.here, self.ahead, *_, self.groups = values
        arrays = [
            None
            if isinstance(kind, types.NoneType)
            else context.make_array(kind)(context, builder, value).data
            for kind, value in zip(kinds[2:7], values[2:7], strict=True)
        ]
        self.offsets, self.masks, self.ends, self.first, self.second = arrays
        self.swapped = not isinstance(kinds[7], types.NoneType)
        pixel = kinds[8].dtype
        self.bits = pixel.bitwidth
        self.lanes = min(32, 512 // self.bits)
        self.float = isinstance(pixel, types.Float)
        self.signed = not self.float and pixel.signed
        self.raw = self.vector(ir.IntType(self.bits))
        self.doubles = self.vector(_F64)
        self.floats = self.vector(ir.FloatType())
        # What the blocks of one group add up in.
        self.weighted = self.doubles if self.bits == 64 else self.floats
        if self.first is not None:
            self.sum = self.weighted
        elif self.float or self.bits == 64:  # 64-bit counts might overflow
            self.sum = self.doubles
        else:
            self.sum = self.vector(_I32 if self.bits <= 16 else _I64)

    def vector(self, element):
        return ir.VectorType(element, self.lanes)

    def loop(self, count, begin, starts, step):
        """Numbers from `begin` to `count`; `step` maps number and running values to the next."""
        b = self.builder
        before = b.block
        head, body, done = (b.append_basic_block(name) for name in ("head", "body", "done"))
        b.branch(head)
        b.position_at_end(head)
        number, running = b.phi(_I64), [b.phi(start.type) for start in starts]
        for phi, start in zip((number, *running), (begin, *starts), strict=True):
            phi.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", number, count), body, done)
        b.position_at_end(body)
        values = step(number, running)
        for phi, value in zip((number, *running), (self.next(number), *values), strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(done)
        return running

    def next(self, number):
        return self.builder.add(number, ir.Constant(_I64, 1))

    def sums(self):
        """Both sums as doubles."""
        zero = ir.Constant(self.doubles, None)
        starts = [ir.Constant(_I64, 0), zero, *([] if self.second is None else [zero])]
        _, *totals = self.loop(self.groups, ir.Constant(_I64, 0), starts, self.group)
        both = [self.across(total) for total in totals]
        return (*both, *[ir.Constant(_F64, 0.0)] * (2 - len(both)))

    def group(self, number, running):
        """Add the blocks of one group to the totals."""
        b = self.builder
        begin, *totals = running
        end = b.load(b.gep(self.ends, [number]))
        kinds = [self.sum, *([] if self.second is None else [self.weighted])]
        added = self.loop(end, begin, [ir.Constant(kind, None) for kind in kinds], self.block)
        return [
            end,
            *(b.fadd(t, self.as_doubles(part)) for t, part in zip(totals, added, strict=True)),
        ]

    def block(self, number, running):
        """Add one block; masked pixels are 0, also where they are NaN."""
        b = self.builder
        offset = b.load(b.gep(self.offsets, [number]))
        self.fetch(b.add(self.ahead, offset))
        pixels = b.load(b.inttoptr(b.add(self.here, offset), self.raw.as_pointer()))
        pixels.align = 1  # records may have a header of any length
        pixels = b.and_(pixels, self.row(self.masks, number, self.raw))
        if self.swapped and self.bits > 8:
            pixels = self.call(f"llvm.bswap.v{self.lanes}i{self.bits}", self.raw, pixels)
        tables = [self.first, *([] if self.second is None else [self.second])]
        added = []
        for sum_, table in zip(running, tables, strict=True):
            value = self.converted(pixels, sum_.type)
            if table is not None:
                weight = self.row(table, number, self.floats)
                weight = weight if sum_.type == self.floats else b.fpext(weight, sum_.type)
                value = b.fmul(value, weight)
            whole = isinstance(sum_.type.element, ir.IntType)
            added.append((b.add if whole else b.fadd)(sum_, value))
        return added

    def row(self, array, number, kind):
        """The row of a table as a vector."""
        b = self.builder
        begin = b.gep(array, [b.mul(number, ir.Constant(_I64, self.lanes))])
        row = b.load(b.bitcast(begin, kind.as_pointer()))
        row.align = 1
        return row

    def fetch(self, address):
        b = self.builder
        pointer = ir.IntType(8).as_pointer()
        flags = [ir.Constant(_I32, flag) for flag in (0, 3, 1)]  # to read, keep, data
        self.call("llvm.prefetch.p0i8", ir.VoidType(), b.inttoptr(address, pointer), *flags)

    def call(self, name, result, *values):
        kind = ir.FunctionType(result, [value.type for value in values])
        b = self.builder
        return b.call(cgutils.get_or_insert_function(b.module, kind, name), values)

    def converted(self, pixels, kind):
        """Pixels in the type that they are added in."""
        b = self.builder
        if self.float:
            pixels = b.bitcast(pixels, self.doubles if self.bits == 64 else self.floats)
            return pixels if pixels.type == kind else b.fpext(pixels, kind)
        widened = b.sext if self.signed else b.zext
        if isinstance(kind.element, ir.IntType):
            return widened(pixels, kind)
        if self.bits < 32:
            # Of 32 bits with a sign the conversion is one instruction, of others many.
            return b.sitofp(widened(pixels, self.vector(_I32)), kind)
        return (b.sitofp if self.signed else b.uitofp)(pixels, kind)

    def as_doubles(self, added):
        b = self.builder
        if added.type == self.doubles:
            return added
        if added.type == self.floats:
            return b.fpext(added, self.doubles)
        return b.sitofp(added, self.doubles)  # groups are small enough for a sign

    def across(self, total):
        """Sum of the lanes."""
        b = self.builder
        parts = [b.extract_element(total, ir.Constant(_I32, i)) for i in range(self.lanes)]
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [b.fadd(x, y) for x, y in zip(parts[:half], parts[half:], strict=True)]
        return parts[0]
