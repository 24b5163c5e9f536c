/**
 * @file One row of the vector instruction tables: how an instruction is encoded, in a short notation.
 *
 * A row reads `encodings form[:classes] prefix.map.opcode[/extension] flags...`, for example
 * `ve rvm np.0f.58 full4`: VEX and EVEX, three operands (ModRM.reg, vvvv, ModRM.rm), and a memory
 * operand as long as the vector that EVEX can broadcast from 4 bytes.
 *
 * - encodings: `v` VEX, `e` EVEX, `ve` both.
 * - form: one letter per operand, destination first: `r` ModRM.reg, `v` VEX.vvvv, `m` ModRM.rm,
 *   `s` a register in the immediate (is4), `i` an immediate byte (in the options). `-`: no operands.
 * - classes: one letter per operand: `v` vector, `h` `q` `e` a half, quarter or eighth of it (at
 *   least 128 bits), `x` 128 bits, `y` 256 bits, `k` mask, `d` `l` 32- or 64-bit general register.
 *   All `v` if left out.
 * - prefix: `np 66 f3 f2`; map: `0f 0f38 0f3a`.
 * - `w1`: W is set; `ew1`: in EVEX only.
 * - length of a memory operand: `full4` `full8` (the vector, broadcast from 4 or 8 bytes), `mem` (the
 *   vector), `half` `half4` (with broadcast), `quarter`, `eighth`, `dup` (8 bytes of 128 bits, else
 *   the vector), `m1` ... `m32` bytes.
 * - `reg`, `ptr`: ModRM.rm must be a register, must be memory; `vreg`: a register in VEX.
 * - `@128` `@256` `@256+` `@512`: the lengths that exist; `l0` `l1`: the length bit, whatever `bits`.
 * - `~prefix.opcode`: the same with ModRM.reg and ModRM.rm swapped, which can save a byte of VEX.
 * - `nomask`: EVEX without masking; `vsib`, `vsibh`: the index is a vector as long, or half as long.
 */
import { assert } from '../util/errors.ts'
import { misuse, type Bits } from './x86-operand.ts'

export interface VectorRow {
  readonly vex: boolean
  readonly evex: boolean
  /** Operands, and where among them stand those of each role; -1 if there is none. */
  readonly operands: number
  readonly reg: number
  readonly vvvv: number
  readonly rm: number
  readonly is4: number
  readonly immediate: boolean
  readonly classes: string
  /** Registers of each operand's class. */
  readonly limits: readonly number[]
  readonly prefix: number
  readonly map: number
  readonly opcode: number
  /** Opcode extension: what ModRM.reg holds if no operand does. */
  readonly extension: number
  readonly wVex: number
  readonly wEvex: number
  readonly memory: MemoryLength
  readonly fixedBytes: number
  readonly broadcast: number
  readonly allowsRegister: boolean
  readonly allowsMemory: boolean
  readonly vexMemory: boolean
  readonly minBits: number
  readonly maxBits: number
  /** VEX.L, EVEX.L'L; -1 if `bits` decides. */
  readonly length: number
  readonly maskable: boolean
  /** Vector index: its part of the vector length, or 0 for general registers. */
  readonly vsib: number
  /** Prefix and opcode with ModRM.reg and ModRM.rm swapped, or -1. */
  readonly swapPrefix: number
  readonly swapOpcode: number
  /** Another form under the same name. */
  readonly next: VectorRow | undefined
}

type MemoryLength = 'vector' | 'half' | 'quarter' | 'eighth' | 'dup' | 'fixed'

const PREFIXES: Record<string, number> = { np: 0, '66': 1, f3: 2, f2: 3 }
const MAPS: Record<string, number> = { '0f': 1, '0f38': 2, '0f3a': 3 }
const LENGTHS: Record<string, [min: number, max: number]> = {
  '@128': [128, 128],
  '@256': [256, 256],
  '@256+': [256, 512],
  '@512': [512, 512],
}

/** Forms of one name in the notation, tried in order. */
export type Forms = readonly [string, ...string[]]

export const row = (...forms: Forms): Forms => forms

/** What some forms say; most are never asked for, so they are read when they are. */
export function readForms(forms: Forms): VectorRow {
  let first: VectorRow | undefined
  for (let i = forms.length - 1; i >= 0; i--) first = parseRow(forms[i]!, first)
  return first!
}

function parseRow(text: string, next: VectorRow | undefined): VectorRow {
  const [encodings = '', shape = '', bytes = '', ...flags] = text.split(' ')
  const [form = '', given] = shape.split(':')
  const roles = form.replace(/[-i]/g, '')
  const classes = given ?? 'v'.repeat(roles.length)
  const [prefix = '', map = '', opcode = ''] = bytes.split('/')[0]!.split('.')
  const extension = bytes.split('/')[1]
  const swap = flags
    .find((flag) => flag.startsWith('~'))
    ?.slice(1)
    .split('.')
  const has = (flag: string) => flags.includes(flag)
  const [minBits, maxBits] = LENGTHS[flags.find((flag) => flag.startsWith('@')) ?? ''] ?? [128, 512]
  const size = flags.find((flag) => /^(full|mem|half|quarter|eighth|dup|m\d)/.test(flag))
  assert(classes.length === roles.length, `x86: classes of '${text}'`)
  return {
    vex: encodings.includes('v'),
    evex: encodings.includes('e'),
    operands: roles.length,
    reg: roles.indexOf('r'),
    vvvv: roles.indexOf('v'),
    rm: roles.indexOf('m'),
    is4: roles.indexOf('s'),
    immediate: form.includes('i'),
    classes,
    limits: Array.from(classes, (c) => (c === 'k' ? 8 : c === 'd' || c === 'l' ? 16 : 32)),
    prefix: PREFIXES[prefix]!,
    map: MAPS[map]!,
    opcode: parseInt(opcode, 16),
    extension: Number(extension ?? 0),
    wVex: has('w1') ? 1 : 0,
    wEvex: has('w1') || has('ew1') ? 1 : 0,
    memory: memoryLength(size),
    fixedBytes: Number(/^m(\d+)$/.exec(size ?? '')?.[1] ?? 0),
    broadcast: Number(/^(?:full|half)(\d)$/.exec(size ?? '')?.[1] ?? 0),
    allowsRegister: !has('ptr'),
    allowsMemory: size !== undefined && !has('reg'),
    vexMemory: !has('vreg'),
    minBits,
    maxBits,
    length: has('l0') ? 0 : has('l1') ? 1 : -1,
    maskable: !has('nomask'),
    vsib: has('vsib') ? 1 : has('vsibh') ? 2 : 0,
    swapPrefix: swap === undefined ? -1 : PREFIXES[swap[0]!]!,
    swapOpcode: swap === undefined ? -1 : parseInt(swap[1]!, 16),
    next,
  }
}

function memoryLength(size: string | undefined): MemoryLength {
  if (size === undefined || size.startsWith('full') || size === 'mem') return 'vector'
  if (size.startsWith('half')) return 'half'
  if (size === 'quarter' || size === 'eighth' || size === 'dup') return size
  return 'fixed'
}

/** Bytes of the row's memory operand, without broadcast. */
export function memoryBytes(row: VectorRow, bits: Bits): number {
  switch (row.memory) {
    case 'vector':
      return bits >>> 3
    case 'half':
      return bits >>> 4
    case 'quarter':
      return bits >>> 5
    case 'eighth':
      return bits >>> 6
    case 'dup':
      return bits === 128 ? 8 : bits >>> 3
    case 'fixed':
      return row.fixedBytes
    default:
      return misuse('unknown length of a memory operand')
  }
}
