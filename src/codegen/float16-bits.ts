/** @file float16 and bfloat16 to float32 and back in integer operations that every target has. */
import type { Value } from '../ir/loops.ts'
import type { Emitter } from './emitter.ts'

/** 16 bits in the low half of an i32, widened to f32. */
export const widen = {
  bfloat16: (b: Emitter, x: Value): Value => b.op('bitcast', [b.op('shl', [x, b.int(16)])], 'f32'),
  float16(b: Emitter, x: Value): Value {
    const sign = b.op('shl', [b.op('and', [x, b.int(0x8000)]), b.int(16)])
    const magnitude = b.op('shl', [b.op('and', [x, b.int(0x7fff)]), b.int(13)])
    // Scaling by 2^112 corrects the exponent's bias, subnormals included; infinity and NaN are patched in.
    const scaled = b.op('mul', [b.op('bitcast', [magnitude], 'f32'), b.const('f32', 2 ** 112)])
    const isSpecial = b.op('le', [b.int(0x0f800000), magnitude])
    const special = b.op('or', [magnitude, b.int(0x7f800000)])
    const absolute = b.op('select', [isSpecial, special, b.op('bitcast', [scaled], 'i32')])
    return b.op('bitcast', [b.op('or', [absolute, sign])], 'f32')
  },
}

/** f32 rounded to nearest even, as 16 bits in the low half of an i32. */
export const narrow = {
  bfloat16(b: Emitter, x: Value): Value {
    const f = b.op('bitcast', [x], 'i32')
    const high = b.op('ushr', [f, b.int(16)])
    const odd = b.op('and', [high, b.int(1)])
    const rounded = b.op('ushr', [b.add(b.add(f, 0x7fff), odd), b.int(16)])
    const isNaN = b.op('ne', [x, x])
    return b.op('select', [isNaN, b.op('or', [high, b.int(0x40)]), rounded])
  },
  float16(b: Emitter, x: Value): Value {
    const f = b.op('bitcast', [x], 'i32')
    const sign = b.op('and', [b.op('ushr', [f, b.int(16)]), b.int(0x8000)])
    const magnitude = b.op('and', [f, b.int(0x7fffffff)])
    const odd = b.op('and', [b.op('ushr', [magnitude, b.int(13)]), b.int(1)])
    const normal = b.op('ushr', [b.add(b.add(magnitude, 0xfff - 0x38000000), odd), b.int(13)])
    // Adding 0.5 leaves the rounded fraction of a subnormal in the low bits of the sum.
    const sum = b.op('add', [b.op('bitcast', [magnitude], 'f32'), b.const('f32', 0.5)])
    const subnormal = b.sub(b.op('bitcast', [sum], 'i32'), 0x3f000000)
    const isSubnormal = b.op('lt', [magnitude, b.int(0x38800000)])
    const finite = b.op('select', [isSubnormal, subnormal, normal])
    const isHuge = b.op('le', [b.int(0x47800000), magnitude])
    const isNaN = b.op('lt', [b.int(0x7f800000), magnitude])
    const huge = b.op('select', [isNaN, b.int(0x7e00), b.int(0x7c00)])
    return b.op('or', [b.op('select', [isHuge, huge, finite]), sign])
  },
}
