/**
 * @file WebAssembly opcodes by their spec names: MVP numerics, sign extension, saturating
 * truncation, simd128 and relaxed-simd.
 *
 * A plain number is a one-byte opcode. `0xfd_00e6` is prefix byte 0xfd, then 0xe6 as LEB128.
 */

/** Every instruction that has no immediate. */
// prettier-ignore
export const WASM_OPS = {
  // Control without immediates
  'unreachable': 0x00, 'nop': 0x01, 'return': 0x0f, 'drop': 0x1a, 'select': 0x1b,

  // Comparisons
  'i32.eqz': 0x45, 'i32.eq': 0x46, 'i32.ne': 0x47, 'i32.lt_s': 0x48, 'i32.lt_u': 0x49,
  'i32.gt_s': 0x4a, 'i32.gt_u': 0x4b, 'i32.le_s': 0x4c, 'i32.le_u': 0x4d, 'i32.ge_s': 0x4e,
  'i32.ge_u': 0x4f, 'i64.eqz': 0x50, 'i64.eq': 0x51, 'i64.ne': 0x52, 'i64.lt_s': 0x53,
  'i64.lt_u': 0x54, 'i64.gt_s': 0x55, 'i64.gt_u': 0x56, 'i64.le_s': 0x57, 'i64.le_u': 0x58,
  'i64.ge_s': 0x59, 'i64.ge_u': 0x5a, 'f32.eq': 0x5b, 'f32.ne': 0x5c, 'f32.lt': 0x5d,
  'f32.gt': 0x5e, 'f32.le': 0x5f, 'f32.ge': 0x60, 'f64.eq': 0x61, 'f64.ne': 0x62, 'f64.lt': 0x63,
  'f64.gt': 0x64, 'f64.le': 0x65, 'f64.ge': 0x66,

  // Integer arithmetic
  'i32.clz': 0x67, 'i32.ctz': 0x68, 'i32.popcnt': 0x69, 'i32.add': 0x6a, 'i32.sub': 0x6b,
  'i32.mul': 0x6c, 'i32.div_s': 0x6d, 'i32.div_u': 0x6e, 'i32.rem_s': 0x6f, 'i32.rem_u': 0x70,
  'i32.and': 0x71, 'i32.or': 0x72, 'i32.xor': 0x73, 'i32.shl': 0x74, 'i32.shr_s': 0x75,
  'i32.shr_u': 0x76, 'i32.rotl': 0x77, 'i32.rotr': 0x78, 'i64.clz': 0x79, 'i64.ctz': 0x7a,
  'i64.popcnt': 0x7b, 'i64.add': 0x7c, 'i64.sub': 0x7d, 'i64.mul': 0x7e, 'i64.div_s': 0x7f,
  'i64.div_u': 0x80, 'i64.rem_s': 0x81, 'i64.rem_u': 0x82, 'i64.and': 0x83, 'i64.or': 0x84,
  'i64.xor': 0x85, 'i64.shl': 0x86, 'i64.shr_s': 0x87, 'i64.shr_u': 0x88, 'i64.rotl': 0x89,
  'i64.rotr': 0x8a,

  // Float arithmetic
  'f32.abs': 0x8b, 'f32.neg': 0x8c, 'f32.ceil': 0x8d, 'f32.floor': 0x8e, 'f32.trunc': 0x8f,
  'f32.nearest': 0x90, 'f32.sqrt': 0x91, 'f32.add': 0x92, 'f32.sub': 0x93, 'f32.mul': 0x94,
  'f32.div': 0x95, 'f32.min': 0x96, 'f32.max': 0x97, 'f32.copysign': 0x98, 'f64.abs': 0x99,
  'f64.neg': 0x9a, 'f64.ceil': 0x9b, 'f64.floor': 0x9c, 'f64.trunc': 0x9d, 'f64.nearest': 0x9e,
  'f64.sqrt': 0x9f, 'f64.add': 0xa0, 'f64.sub': 0xa1, 'f64.mul': 0xa2, 'f64.div': 0xa3,
  'f64.min': 0xa4, 'f64.max': 0xa5, 'f64.copysign': 0xa6,

  // Conversions
  'i32.wrap_i64': 0xa7, 'i32.trunc_f32_s': 0xa8, 'i32.trunc_f32_u': 0xa9, 'i32.trunc_f64_s': 0xaa,
  'i32.trunc_f64_u': 0xab, 'i64.extend_i32_s': 0xac, 'i64.extend_i32_u': 0xad,
  'i64.trunc_f32_s': 0xae, 'i64.trunc_f32_u': 0xaf, 'i64.trunc_f64_s': 0xb0,
  'i64.trunc_f64_u': 0xb1, 'f32.convert_i32_s': 0xb2, 'f32.convert_i32_u': 0xb3,
  'f32.convert_i64_s': 0xb4, 'f32.convert_i64_u': 0xb5, 'f32.demote_f64': 0xb6,
  'f64.convert_i32_s': 0xb7, 'f64.convert_i32_u': 0xb8, 'f64.convert_i64_s': 0xb9,
  'f64.convert_i64_u': 0xba, 'f64.promote_f32': 0xbb, 'i32.reinterpret_f32': 0xbc,
  'i64.reinterpret_f64': 0xbd, 'f32.reinterpret_i32': 0xbe, 'f64.reinterpret_i64': 0xbf,

  // Sign extension
  'i32.extend8_s': 0xc0, 'i32.extend16_s': 0xc1, 'i64.extend8_s': 0xc2, 'i64.extend16_s': 0xc3,
  'i64.extend32_s': 0xc4,

  // Saturating truncation
  'i32.trunc_sat_f32_s': 0xfc_0000, 'i32.trunc_sat_f32_u': 0xfc_0001,
  'i32.trunc_sat_f64_s': 0xfc_0002, 'i32.trunc_sat_f64_u': 0xfc_0003,
  'i64.trunc_sat_f32_s': 0xfc_0004, 'i64.trunc_sat_f32_u': 0xfc_0005,
  'i64.trunc_sat_f64_s': 0xfc_0006, 'i64.trunc_sat_f64_u': 0xfc_0007,

  // simd128: swizzle and splat
  'i8x16.swizzle': 0xfd_000e, 'i8x16.splat': 0xfd_000f, 'i16x8.splat': 0xfd_0010,
  'i32x4.splat': 0xfd_0011, 'i64x2.splat': 0xfd_0012, 'f32x4.splat': 0xfd_0013,
  'f64x2.splat': 0xfd_0014,

  // simd128: comparisons
  'i8x16.eq': 0xfd_0023, 'i8x16.ne': 0xfd_0024, 'i8x16.lt_s': 0xfd_0025, 'i8x16.lt_u': 0xfd_0026,
  'i8x16.gt_s': 0xfd_0027, 'i8x16.gt_u': 0xfd_0028, 'i8x16.le_s': 0xfd_0029,
  'i8x16.le_u': 0xfd_002a, 'i8x16.ge_s': 0xfd_002b, 'i8x16.ge_u': 0xfd_002c, 'i16x8.eq': 0xfd_002d,
  'i16x8.ne': 0xfd_002e, 'i16x8.lt_s': 0xfd_002f, 'i16x8.lt_u': 0xfd_0030, 'i16x8.gt_s': 0xfd_0031,
  'i16x8.gt_u': 0xfd_0032, 'i16x8.le_s': 0xfd_0033, 'i16x8.le_u': 0xfd_0034,
  'i16x8.ge_s': 0xfd_0035, 'i16x8.ge_u': 0xfd_0036, 'i32x4.eq': 0xfd_0037, 'i32x4.ne': 0xfd_0038,
  'i32x4.lt_s': 0xfd_0039, 'i32x4.lt_u': 0xfd_003a, 'i32x4.gt_s': 0xfd_003b,
  'i32x4.gt_u': 0xfd_003c, 'i32x4.le_s': 0xfd_003d, 'i32x4.le_u': 0xfd_003e,
  'i32x4.ge_s': 0xfd_003f, 'i32x4.ge_u': 0xfd_0040, 'i64x2.eq': 0xfd_00d6, 'i64x2.ne': 0xfd_00d7,
  'i64x2.lt_s': 0xfd_00d8, 'i64x2.gt_s': 0xfd_00d9, 'i64x2.le_s': 0xfd_00da,
  'i64x2.ge_s': 0xfd_00db, 'f32x4.eq': 0xfd_0041, 'f32x4.ne': 0xfd_0042, 'f32x4.lt': 0xfd_0043,
  'f32x4.gt': 0xfd_0044, 'f32x4.le': 0xfd_0045, 'f32x4.ge': 0xfd_0046, 'f64x2.eq': 0xfd_0047,
  'f64x2.ne': 0xfd_0048, 'f64x2.lt': 0xfd_0049, 'f64x2.gt': 0xfd_004a, 'f64x2.le': 0xfd_004b,
  'f64x2.ge': 0xfd_004c,

  // simd128: bitwise
  'v128.not': 0xfd_004d, 'v128.and': 0xfd_004e, 'v128.andnot': 0xfd_004f, 'v128.or': 0xfd_0050,
  'v128.xor': 0xfd_0051, 'v128.bitselect': 0xfd_0052, 'v128.any_true': 0xfd_0053,

  // simd128: i8x16
  'i8x16.abs': 0xfd_0060, 'i8x16.neg': 0xfd_0061, 'i8x16.popcnt': 0xfd_0062,
  'i8x16.all_true': 0xfd_0063, 'i8x16.bitmask': 0xfd_0064, 'i8x16.narrow_i16x8_s': 0xfd_0065,
  'i8x16.narrow_i16x8_u': 0xfd_0066, 'i8x16.shl': 0xfd_006b, 'i8x16.shr_s': 0xfd_006c,
  'i8x16.shr_u': 0xfd_006d, 'i8x16.add': 0xfd_006e, 'i8x16.add_sat_s': 0xfd_006f,
  'i8x16.add_sat_u': 0xfd_0070, 'i8x16.sub': 0xfd_0071, 'i8x16.sub_sat_s': 0xfd_0072,
  'i8x16.sub_sat_u': 0xfd_0073, 'i8x16.min_s': 0xfd_0076, 'i8x16.min_u': 0xfd_0077,
  'i8x16.max_s': 0xfd_0078, 'i8x16.max_u': 0xfd_0079, 'i8x16.avgr_u': 0xfd_007b,

  // simd128: i16x8
  'i16x8.extadd_pairwise_i8x16_s': 0xfd_007c, 'i16x8.extadd_pairwise_i8x16_u': 0xfd_007d,
  'i16x8.abs': 0xfd_0080, 'i16x8.neg': 0xfd_0081, 'i16x8.q15mulr_sat_s': 0xfd_0082,
  'i16x8.all_true': 0xfd_0083, 'i16x8.bitmask': 0xfd_0084, 'i16x8.narrow_i32x4_s': 0xfd_0085,
  'i16x8.narrow_i32x4_u': 0xfd_0086, 'i16x8.extend_low_i8x16_s': 0xfd_0087,
  'i16x8.extend_high_i8x16_s': 0xfd_0088, 'i16x8.extend_low_i8x16_u': 0xfd_0089,
  'i16x8.extend_high_i8x16_u': 0xfd_008a, 'i16x8.shl': 0xfd_008b, 'i16x8.shr_s': 0xfd_008c,
  'i16x8.shr_u': 0xfd_008d, 'i16x8.add': 0xfd_008e, 'i16x8.add_sat_s': 0xfd_008f,
  'i16x8.add_sat_u': 0xfd_0090, 'i16x8.sub': 0xfd_0091, 'i16x8.sub_sat_s': 0xfd_0092,
  'i16x8.sub_sat_u': 0xfd_0093, 'i16x8.mul': 0xfd_0095, 'i16x8.min_s': 0xfd_0096,
  'i16x8.min_u': 0xfd_0097, 'i16x8.max_s': 0xfd_0098, 'i16x8.max_u': 0xfd_0099,
  'i16x8.avgr_u': 0xfd_009b, 'i16x8.extmul_low_i8x16_s': 0xfd_009c,
  'i16x8.extmul_high_i8x16_s': 0xfd_009d, 'i16x8.extmul_low_i8x16_u': 0xfd_009e,
  'i16x8.extmul_high_i8x16_u': 0xfd_009f,

  // simd128: i32x4
  'i32x4.extadd_pairwise_i16x8_s': 0xfd_007e, 'i32x4.extadd_pairwise_i16x8_u': 0xfd_007f,
  'i32x4.abs': 0xfd_00a0, 'i32x4.neg': 0xfd_00a1, 'i32x4.all_true': 0xfd_00a3,
  'i32x4.bitmask': 0xfd_00a4, 'i32x4.extend_low_i16x8_s': 0xfd_00a7,
  'i32x4.extend_high_i16x8_s': 0xfd_00a8, 'i32x4.extend_low_i16x8_u': 0xfd_00a9,
  'i32x4.extend_high_i16x8_u': 0xfd_00aa, 'i32x4.shl': 0xfd_00ab, 'i32x4.shr_s': 0xfd_00ac,
  'i32x4.shr_u': 0xfd_00ad, 'i32x4.add': 0xfd_00ae, 'i32x4.sub': 0xfd_00b1, 'i32x4.mul': 0xfd_00b5,
  'i32x4.min_s': 0xfd_00b6, 'i32x4.min_u': 0xfd_00b7, 'i32x4.max_s': 0xfd_00b8,
  'i32x4.max_u': 0xfd_00b9, 'i32x4.dot_i16x8_s': 0xfd_00ba, 'i32x4.extmul_low_i16x8_s': 0xfd_00bc,
  'i32x4.extmul_high_i16x8_s': 0xfd_00bd, 'i32x4.extmul_low_i16x8_u': 0xfd_00be,
  'i32x4.extmul_high_i16x8_u': 0xfd_00bf,

  // simd128: i64x2
  'i64x2.abs': 0xfd_00c0, 'i64x2.neg': 0xfd_00c1, 'i64x2.all_true': 0xfd_00c3,
  'i64x2.bitmask': 0xfd_00c4, 'i64x2.extend_low_i32x4_s': 0xfd_00c7,
  'i64x2.extend_high_i32x4_s': 0xfd_00c8, 'i64x2.extend_low_i32x4_u': 0xfd_00c9,
  'i64x2.extend_high_i32x4_u': 0xfd_00ca, 'i64x2.shl': 0xfd_00cb, 'i64x2.shr_s': 0xfd_00cc,
  'i64x2.shr_u': 0xfd_00cd, 'i64x2.add': 0xfd_00ce, 'i64x2.sub': 0xfd_00d1, 'i64x2.mul': 0xfd_00d5,
  'i64x2.extmul_low_i32x4_s': 0xfd_00dc, 'i64x2.extmul_high_i32x4_s': 0xfd_00dd,
  'i64x2.extmul_low_i32x4_u': 0xfd_00de, 'i64x2.extmul_high_i32x4_u': 0xfd_00df,

  // simd128: f32x4
  'f32x4.ceil': 0xfd_0067, 'f32x4.floor': 0xfd_0068, 'f32x4.trunc': 0xfd_0069,
  'f32x4.nearest': 0xfd_006a, 'f32x4.abs': 0xfd_00e0, 'f32x4.neg': 0xfd_00e1,
  'f32x4.sqrt': 0xfd_00e3, 'f32x4.add': 0xfd_00e4, 'f32x4.sub': 0xfd_00e5, 'f32x4.mul': 0xfd_00e6,
  'f32x4.div': 0xfd_00e7, 'f32x4.min': 0xfd_00e8, 'f32x4.max': 0xfd_00e9, 'f32x4.pmin': 0xfd_00ea,
  'f32x4.pmax': 0xfd_00eb,

  // simd128: f64x2
  'f64x2.ceil': 0xfd_0074, 'f64x2.floor': 0xfd_0075, 'f64x2.trunc': 0xfd_007a,
  'f64x2.nearest': 0xfd_0094, 'f64x2.abs': 0xfd_00ec, 'f64x2.neg': 0xfd_00ed,
  'f64x2.sqrt': 0xfd_00ef, 'f64x2.add': 0xfd_00f0, 'f64x2.sub': 0xfd_00f1, 'f64x2.mul': 0xfd_00f2,
  'f64x2.div': 0xfd_00f3, 'f64x2.min': 0xfd_00f4, 'f64x2.max': 0xfd_00f5, 'f64x2.pmin': 0xfd_00f6,
  'f64x2.pmax': 0xfd_00f7,

  // simd128: conversions
  'f32x4.demote_f64x2_zero': 0xfd_005e, 'f64x2.promote_low_f32x4': 0xfd_005f,
  'i32x4.trunc_sat_f32x4_s': 0xfd_00f8, 'i32x4.trunc_sat_f32x4_u': 0xfd_00f9,
  'f32x4.convert_i32x4_s': 0xfd_00fa, 'f32x4.convert_i32x4_u': 0xfd_00fb,
  'i32x4.trunc_sat_f64x2_s_zero': 0xfd_00fc, 'i32x4.trunc_sat_f64x2_u_zero': 0xfd_00fd,
  'f64x2.convert_low_i32x4_s': 0xfd_00fe, 'f64x2.convert_low_i32x4_u': 0xfd_00ff,

  // relaxed-simd: the result may differ between machines
  'i8x16.relaxed_swizzle': 0xfd_0100, 'i32x4.relaxed_trunc_f32x4_s': 0xfd_0101,
  'i32x4.relaxed_trunc_f32x4_u': 0xfd_0102, 'i32x4.relaxed_trunc_f64x2_s_zero': 0xfd_0103,
  'i32x4.relaxed_trunc_f64x2_u_zero': 0xfd_0104, 'f32x4.relaxed_madd': 0xfd_0105,
  'f32x4.relaxed_nmadd': 0xfd_0106, 'f64x2.relaxed_madd': 0xfd_0107,
  'f64x2.relaxed_nmadd': 0xfd_0108, 'i8x16.relaxed_laneselect': 0xfd_0109,
  'i16x8.relaxed_laneselect': 0xfd_010a, 'i32x4.relaxed_laneselect': 0xfd_010b,
  'i64x2.relaxed_laneselect': 0xfd_010c, 'f32x4.relaxed_min': 0xfd_010d,
  'f32x4.relaxed_max': 0xfd_010e, 'f64x2.relaxed_min': 0xfd_010f, 'f64x2.relaxed_max': 0xfd_0110,
  'i16x8.relaxed_q15mulr_s': 0xfd_0111, 'i16x8.relaxed_dot_i8x16_i7x16_s': 0xfd_0112,
  'i32x4.relaxed_dot_i8x16_i7x16_add_s': 0xfd_0113,
}

/** Loads and stores: opcode, then log2 of the bytes touched (the natural alignment). */
// prettier-ignore
export const WASM_MEMORY_OPS = {
  'i32.load': [0x28, 2], 'i64.load': [0x29, 3], 'f32.load': [0x2a, 2], 'f64.load': [0x2b, 3],
  'i32.load8_s': [0x2c, 0], 'i32.load8_u': [0x2d, 0], 'i32.load16_s': [0x2e, 1],
  'i32.load16_u': [0x2f, 1], 'i64.load8_s': [0x30, 0], 'i64.load8_u': [0x31, 0],
  'i64.load16_s': [0x32, 1], 'i64.load16_u': [0x33, 1], 'i64.load32_s': [0x34, 2],
  'i64.load32_u': [0x35, 2], 'i32.store': [0x36, 2], 'i64.store': [0x37, 3], 'f32.store': [0x38, 2],
  'f64.store': [0x39, 3], 'i32.store8': [0x3a, 0], 'i32.store16': [0x3b, 1],
  'i64.store8': [0x3c, 0], 'i64.store16': [0x3d, 1], 'i64.store32': [0x3e, 2],
  'v128.load': [0xfd_0000, 4], 'v128.load8x8_s': [0xfd_0001, 3], 'v128.load8x8_u': [0xfd_0002, 3],
  'v128.load16x4_s': [0xfd_0003, 3], 'v128.load16x4_u': [0xfd_0004, 3],
  'v128.load32x2_s': [0xfd_0005, 3], 'v128.load32x2_u': [0xfd_0006, 3],
  'v128.load8_splat': [0xfd_0007, 0], 'v128.load16_splat': [0xfd_0008, 1],
  'v128.load32_splat': [0xfd_0009, 2], 'v128.load64_splat': [0xfd_000a, 3],
  'v128.store': [0xfd_000b, 4], 'v128.load32_zero': [0xfd_005c, 2],
  'v128.load64_zero': [0xfd_005d, 3],
} as const satisfies Record<string, readonly [opcode: number, number]>

/** Loads and stores of one vector lane: opcode, then log2 of the bytes touched. */
// prettier-ignore
export const WASM_MEMORY_LANE_OPS = {
  'v128.load8_lane': [0xfd_0054, 0], 'v128.load16_lane': [0xfd_0055, 1],
  'v128.load32_lane': [0xfd_0056, 2], 'v128.load64_lane': [0xfd_0057, 3],
  'v128.store8_lane': [0xfd_0058, 0], 'v128.store16_lane': [0xfd_0059, 1],
  'v128.store32_lane': [0xfd_005a, 2], 'v128.store64_lane': [0xfd_005b, 3],
} as const satisfies Record<string, readonly [opcode: number, number]>

/** Lane access: opcode, then the number of lanes. */
// prettier-ignore
export const WASM_LANE_OPS = {
  'i8x16.extract_lane_s': [0xfd_0015, 16], 'i8x16.extract_lane_u': [0xfd_0016, 16],
  'i8x16.replace_lane': [0xfd_0017, 16], 'i16x8.extract_lane_s': [0xfd_0018, 8],
  'i16x8.extract_lane_u': [0xfd_0019, 8], 'i16x8.replace_lane': [0xfd_001a, 8],
  'i32x4.extract_lane': [0xfd_001b, 4], 'i32x4.replace_lane': [0xfd_001c, 4],
  'i64x2.extract_lane': [0xfd_001d, 2], 'i64x2.replace_lane': [0xfd_001e, 2],
  'f32x4.extract_lane': [0xfd_001f, 4], 'f32x4.replace_lane': [0xfd_0020, 4],
  'f64x2.extract_lane': [0xfd_0021, 2], 'f64x2.replace_lane': [0xfd_0022, 2],
} as const satisfies Record<string, readonly [opcode: number, number]>

/** Value types by name. */
export const WASM_VALUE_TYPES = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b }

/** A WebAssembly number or vector type. */
export type WasmValueType = keyof typeof WASM_VALUE_TYPES
/** Name of an instruction without immediates. */
export type WasmOp = keyof typeof WASM_OPS
/** Name of a load or store. */
export type WasmMemoryOp = keyof typeof WASM_MEMORY_OPS
/** Name of a load or store of one lane. */
export type WasmMemoryLaneOp = keyof typeof WASM_MEMORY_LANE_OPS
/** Name of a lane extraction or replacement. */
export type WasmLaneOp = keyof typeof WASM_LANE_OPS
