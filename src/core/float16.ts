/** @file Bits of float16 and bfloat16 to numbers and back, rounding to nearest even. */

const scratch = new DataView(new ArrayBuffer(4))

/** The number that 16 bits of IEEE half precision stand for. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** The nearest IEEE half-precision value, as bits; ties go to even, overflow to infinity. */
export function numberToHalf(value: number): number {
  scratch.setFloat32(0, value)
  const f = scratch.getUint32(0)
  const sign = (f >>> 16) & 0x8000
  const magnitude = f & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x47800000) return sign | 0x7c00
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the rounded fraction in the low bits of the sum.
    scratch.setUint32(0, magnitude)
    scratch.setFloat32(0, scratch.getFloat32(0) + 0.5)
    return sign | (scratch.getUint32(0) - 0x3f000000)
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
}

/** The number that 16 bits of bfloat16 stand for. */
export function bfloatToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16)
  return scratch.getFloat32(0)
}

/** The nearest bfloat16 value, as bits; ties go to even. */
export function numberToBfloat(value: number): number {
  scratch.setFloat32(0, value)
  const f = scratch.getUint32(0)
  if ((f & 0x7fffffff) > 0x7f800000) return (f >>> 16) | 0x40
  return ((f + 0x7fff + ((f >>> 16) & 1)) >>> 16) & 0xffff
}
