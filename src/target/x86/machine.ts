/** @file Machine instructions over virtual registers, and where each of those is alive: what selection writes and allocation reads. */
import type { Bits, Condition, Label, VectorOp } from '../../asm/x86.ts'
import { memoryOperand } from './spelling.ts'
import { assert } from '../../util/errors.ts'

/** Kinds of registers: general, vector, mask. */
export type RegisterClass = 'g' | 'v' | 'k'

/** A constant that lives beside the code: the bytes of one element for all lanes, or of a whole register. */
export interface PoolConstant {
  readonly bytes: Uint8Array
  readonly isSplat: boolean
}

/** A virtual register. Alive from `start` to `end`, positions twice the number of an instruction. */
export class Register {
  readonly class: RegisterClass
  /** Set for what need not be kept in a register: it can be read from beside the code at any time. */
  readonly constant: PoolConstant | undefined
  start = -1
  end = -1
  /** How often it is used, each loop around a use counting eightfold. */
  weight = 0
  /** How many loops are open where it is made. */
  depth = -1
  /** The machine's register, or -1. */
  assigned = -1
  /** Where it is kept on the stack when it has no register, in bytes, or -1. */
  slot = -1
  /** A register it would best share. */
  hint: Register | undefined = undefined
  /** For a constant: every use of it could read memory instead. */
  isFoldable = true

  constructor(kind: RegisterClass, constant?: PoolConstant) {
    this.class = kind
    this.constant = constant
  }
}

/** [base + index * scale + disp] with virtual registers. */
export interface Address {
  readonly base: Register
  readonly index: Register | undefined
  readonly scale: 1 | 2 | 4 | 8
  readonly disp: number
  /** One element is read for all lanes. */
  readonly broadcast: boolean
}

export type MachineOperand = Register | Address | number | bigint

export const isAddress = (x: MachineOperand): x is Address =>
  typeof x === 'object' && !(x instanceof Register)

/** Instructions on general registers, and those that are no single instruction of the assembler. */
export type IntOp =
  | 'mov'
  | 'movImm'
  | 'load'
  | 'store'
  | 'lea'
  | 'add'
  | 'sub'
  | 'and'
  | 'or'
  | 'xor'
  | 'cmp'
  | 'test'
  | 'imul'
  | 'imulImm'
  | 'shl'
  | 'shr'
  | 'sar'
  | 'shlx'
  | 'shrx'
  | 'sarx'
  | 'neg'
  | 'not'
  | 'cmov'
  | 'setcc'
  | 'movsxd'
  | 'movsx8'
  | 'movzx8'
  | 'movzx16'
  | 'store8'
  | 'store16'
  | 'cqo'
  | 'idiv'
  | 'jcc'
  | 'jmp'
  | 'label'
  | 'loop'
  | 'zero'
  | 'ones'
  | 'prefetch'
  | 'stackStore'
  | 'stackLoad'
  | 'stackRead'
  | 'stackWrite'
  | 'fence'

/** What happens to the first operand: nothing but reading, it is made, or it is changed. */
export type Effect = 'reads' | 'makes' | 'changes'

export interface Instruction {
  readonly op: VectorOp | IntOp
  readonly isVector: boolean
  readonly bits: number
  readonly effect: Effect
  readonly operands: readonly MachineOperand[]
  readonly imm: number | undefined
  readonly mask: Register | undefined
  readonly zeroing: boolean
  readonly condition: Condition | undefined
  readonly label: Label | undefined
}

export interface VectorExtras {
  readonly imm?: number
  readonly mask?: Register
  /** Lanes that the mask switches off become 0; without it they stay, so the first operand is changed. */
  readonly zeroing?: boolean
}

interface OpenLoop {
  /** What is alive around the loop and used inside: it has to survive all rounds. */
  readonly through: Set<Register>
}

/** Whether an operand could be memory instead of a register. */
export function takesMemory({ op, isVector, operands }: Instruction, i: number): boolean {
  if (!isVector || i === 0 || operands.some(isAddress)) return false
  return memoryOperand(op as VectorOp) === i
}

/** A kernel's instructions under construction; keeps book of where registers are alive. */
export class MachineProgram {
  readonly instructions: Instruction[] = []
  readonly registers: Register[] = []
  readonly #fixed: Register[] = []
  readonly #constants: Register[] = []
  /** In the order in which they are made. */
  readonly #made: Register[] = []
  readonly #loops: OpenLoop[] = []
  /** What a use counts at present. */
  #weight = 1
  /** Bytes of the stack used for passing lanes through memory. */
  stackBytes = 0
  /** Registers of the machine that no value may be kept in. */
  readonly reserved = new Set<number>()

  register(kind: RegisterClass): Register {
    const made = new Register(kind)
    this.registers.push(made)
    return made
  }

  /** A constant: exists from the beginning, in a register if there is one to spare. */
  constant(constant: PoolConstant): Register {
    const made = new Register('v', constant)
    made.start = 0
    made.end = 0
    made.depth = 0
    this.registers.push(made)
    this.#constants.push(made)
    return made
  }

  /** A register of the machine, alive from the beginning to its last use. */
  fixed(assigned: number): Register {
    const made = new Register('g')
    made.assigned = assigned
    made.start = -1
    made.depth = 0
    this.registers.push(made)
    this.#fixed.push(made)
    return made
  }

  /** All that are ever alive, by where they begin, and then by where they end. */
  inOrder(): readonly Register[] {
    const constants = this.#constants.toSorted((a, b) => a.end - b.end)
    const fixed = this.#fixed.filter((r) => r.end >= 0).sort((a, b) => a.end - b.end)
    return [...fixed, ...constants, ...this.#made]
  }

  vector(
    op: VectorOp,
    bits: Bits,
    operands: readonly MachineOperand[],
    { imm, mask, zeroing = false }: VectorExtras = {},
    effect: Effect = mask !== undefined && !zeroing && !op.includes('cmp') ? 'changes' : 'makes',
  ): void {
    const actual = isAddress(operands[0]!) ? 'reads' : effect
    this.#push({
      op,
      isVector: true,
      bits,
      effect: actual,
      operands,
      imm,
      mask,
      zeroing,
      condition: undefined,
      label: undefined,
    })
  }

  int(
    op: IntOp,
    bits: number,
    effect: Effect,
    operands: readonly MachineOperand[],
    condition?: Condition,
    imm?: number,
  ): void {
    this.#push({
      op,
      isVector: false,
      bits,
      effect,
      operands,
      imm,
      mask: undefined,
      zeroing: false,
      condition,
      label: undefined,
    })
  }

  jump(op: 'jcc' | 'jmp', label: Label, condition?: Condition): void {
    this.#control(op, label, condition)
  }
  label(label: Label): void {
    this.#control('label', label)
  }

  /** Copies a register; the copy goes away where both can share one. */
  copy(to: Register, from: Register): void {
    to.hint ??= from
    if (to.class === 'g') this.int('mov', 64, 'makes', [to, from])
    else if (to.class === 'k') this.vector('kmovq', 128, [to, from])
    else this.vector('vmovups', this.copyBits, [to, from])
  }
  /** Width of a whole vector register. */
  copyBits: Bits = 512

  /** The head of a loop, a target of jumps. */
  openLoop(head: Label): void {
    this.#loops.push({ through: new Set() })
    this.#weight *= 8
    this.#control('loop', head)
  }

  /** Jumps back to the head; what is needed inside is alive until here. */
  closeLoop(head: Label, condition: Condition): void {
    const loop = this.#loops.pop()!
    this.#weight /= 8
    this.#control('jcc', head, condition)
    const end = 2 * (this.instructions.length - 1)
    for (const register of loop.through) {
      register.end = Math.max(register.end, end)
      // It has to live through the loops around, too, as far as it comes from outside them.
      this.#carry(register)
    }
  }

  #control(op: IntOp, label: Label, condition?: Condition): void {
    this.#push({
      op,
      isVector: false,
      bits: 64,
      effect: 'reads',
      operands: [],
      imm: undefined,
      mask: undefined,
      zeroing: false,
      condition,
      label,
    })
  }

  #push(instruction: Instruction): void {
    const at = 2 * this.instructions.length
    this.instructions.push(instruction)
    const { operands, effect, mask } = instruction
    for (let i = operands.length - 1; i >= 0; i--) {
      const x = operands[i]!
      if (typeof x === 'number' || typeof x === 'bigint') continue
      if (x instanceof Register) {
        if (i > 0 || effect !== 'makes') this.#use(x, at)
        if (x.constant && !takesMemory(instruction, i)) x.isFoldable = false
        if (i === 0 && effect !== 'reads') this.#make(x, at + 1)
      } else {
        this.#use(x.base, at)
        if (x.index) this.#use(x.index, at)
      }
    }
    if (mask) this.#use(mask, at)
  }

  #make(x: Register, at: number): void {
    if (x.start < 0 && x.assigned < 0) {
      x.start = at
      x.depth = this.#loops.length
      this.#made.push(x)
    }
    if (at > x.end) x.end = at
    x.weight += this.#weight
    this.#carry(x)
  }

  #use(x: Register, at: number): void {
    assert(x.depth >= 0, 'a register is read before it is made')
    if (at > x.end) x.end = at
    x.weight += this.#weight
    this.#carry(x)
  }

  #carry(x: Register): void {
    if (this.#loops.length > x.depth) this.#loops[x.depth]!.through.add(x)
  }
}
