/** @file The machine code of the thread pool: what a worker does all its life, and how a kernel is launched. */
import { gpr, X86Assembler, type Label } from '../../asm/x86.ts'

/**
 * Note [Regions]: one launch of a kernel with a parallel loop is a region. The caller writes down the
 * kernel and its range, opens the gate, counts `sequence` up (what idle workers watch) and takes chunks
 * of the range like everybody else. A worker enters by counting itself in at the gate, and only if the
 * gate was open then may it read the kernel and take chunks. When the range is used up the caller closes
 * the gate and waits until those inside have left, not for those who are still asleep or were not
 * scheduled: they find the gate closed. So nobody ever runs a chunk of one region with the arguments of
 * another, and a busy machine delays nothing but the chunks that were taken.
 *
 * Nobody misses a call: a worker counts itself among the sleepers before it asks the system to sleep
 * for as long as `sequence` is what it was; the caller counts `sequence` up before it looks for
 * sleepers. Both are locked instructions, so at least one of the two sees the other. The caller's own
 * sleep, at the gate, works the same way with `waiting`.
 */

/** Offsets of the words that workers and caller share. Whatever is written often has a line of its own. */
export const shared = {
  /** Counts regions, and whatever else workers must notice. u32 */
  sequence: 0,
  /** Workers inside, plus `open`. u32 */
  gate: 4,
  /** The kernel, its arguments, the end of its range and the size of a chunk. u64 each */
  kernel: 8,
  args: 16,
  count: 24,
  grain: 32,
  /** Workers whose index is not below this end. u32 */
  limit: 40,
  /** Workers there are; with none, the caller does everything at once. u32 */
  workers: 44,
  /** Whether the caller sleeps at the gate. u32 */
  waiting: 48,
  /** The thread that owns the pool: when it is gone, workers end. u32 each */
  process: 52,
  owner: 56,
  /** Whether a program runs: between its kernels workers do not fall asleep. u32 */
  busy: 60,
  /** The next element of the range that nobody has taken. u64 */
  next: 128,
  /** u32 */
  sleepers: 256,
  /** Threads that have not ended, counted up by whoever starts them. u32 */
  alive: 384,
  /** How long a worker sleeps before it looks whether its owner is still there: seconds, nanoseconds. u64 each */
  patience: 448,
  bytes: 4096,
} as const

/**
 * A control block, which a launch reads, in float64 slots: kernel, count, grain, and whether sleeping
 * workers are to be woken (1) or left alone (0). `status` is a word of its own, 0 when a check of the kernel
 * did not hold. The kernel's arguments begin at `args`. In a program, `next` is the address of the block
 * that follows, or 0; in the pool's own block it is where the program begins that is to be run.
 */
export const control = {
  kernel: 0,
  count: 1,
  grain: 2,
  wakes: 3,
  status: 4,
  next: 5,
  args: 8,
} as const

/** Iterations of a kernel among those of a task, in float64 slots. */
export const piece = { kernel: 0, args: 1, begin: 2, end: 3, slots: 4 } as const

const open = 1 << 16
/** Ticks of the processor's clock to spin before sleeping: about 50 microseconds. */
const spinTicks = 1 << 17
const system = { futex: 202, tgkill: 234, wait: 128, wake: 129, timedOut: -110, noSuchThread: -3 }

const { rax, rcx, rdx, rbx, rsi, rdi, r8, r9, r10, r12, r13, r14, r15 } = gpr
const at = (field: keyof typeof shared) => ({ base: rbx, disp: shared[field] })

/** `worker(index)`: what a thread of the pool runs until it is told to end. */
export function workerCode(context: number): Uint8Array {
  const a = new X86Assembler()
  const top = a.label()
  const closed = a.label()
  const idle = a.label()
  const spin = a.label()
  const sleep = a.label()
  const woken = a.label()
  const end = a.label()
  const saved = [rbx, r12, r13, r14, r15]
  for (const register of saved) a.push(register)
  a.mov(64, r12, rdi)
  a.movImm(64, rbx, context)

  // Is there work? The sequence is read first: whatever comes later changes it.
  a.bind(top)
  a.mov(32, r13, at('sequence'))
  a.alu('cmp', 32, r12, at('limit'))
  a.jcc('ae', end)
  a.movImm(32, rax, 1)
  a.lock('xadd', 32, at('gate'), rax)
  a.aluImm('and', 32, rax, open)
  a.jcc('e', closed)
  emitChunks(a)
  a.bind(closed)
  a.movImm(32, rax, -1)
  a.lock('xadd', 32, at('gate'), rax)
  // The last one out of a closed gate wakes the caller.
  a.aluImm('cmp', 32, rax, 1)
  a.jcc('ne', idle)
  a.aluImm('cmp', 32, at('waiting'), 0)
  a.jcc('e', idle)
  emitFutex(a, 'gate', system.wake, () => a.movImm(32, rdx, 1))

  a.bind(idle)
  emitClock(a, r14)
  a.bind(spin)
  a.alu('cmp', 32, r13, at('sequence'))
  a.jcc('ne', top)
  emitSpin(a, r14, spin)
  a.aluImm('cmp', 32, at('busy'), 0)
  a.jcc('ne', idle)

  a.bind(sleep)
  a.lock('inc', 32, at('sleepers'))
  emitFutex(a, 'sequence', system.wait, () => a.mov(32, rdx, r13), 'patience')
  a.lock('dec', 32, at('sleepers'))
  a.aluImm('cmp', 32, rax, system.timedOut)
  a.jcc('ne', woken)
  a.mov(32, rdi, at('process'))
  a.mov(32, rsi, at('owner'))
  a.movImm(32, rdx, 0)
  a.movImm(32, rax, system.tgkill)
  a.syscall()
  a.aluImm('cmp', 32, rax, system.noSuchThread)
  a.jcc('e', end)
  a.bind(woken)
  a.alu('cmp', 32, r13, at('sequence'))
  a.jcc('e', sleep)
  a.jmp(top)

  a.bind(end)
  a.lock('dec', 32, at('alive'))
  for (const register of saved.toReversed()) a.pop(register)
  a.movImm(32, rax, 0)
  a.ret()
  return a.finish()
}

/** `run()`: launches the kernel that stands in the control block at `controlAt`. */
export function runCode(context: number, controlAt: number): Uint8Array {
  const a = new X86Assembler()
  a.movImm(64, rax, controlAt)
  emitReadControl(a, rax)
  emitRegion(a, context)
  return a.finish()
}

/**
 * `runProgram()`: launches one kernel after the other, until there is no next one or a check did not hold.
 * The first control block is the `next` of the one at `controlAt`.
 */
export function programCode(context: number, controlAt: number): Uint8Array {
  const a = new X86Assembler()
  const region = a.label()
  const next = a.label()
  const end = a.label()
  // Three registers keep the stack aligned for the calls.
  const saved = [rbx, r14, r15]
  for (const register of saved) a.push(register)
  a.movImm(64, rax, controlAt)
  emitReadSlot(a, r14, rax, control.next)
  a.movImm(64, rbx, context)
  a.movImm(32, at('busy'), 1)
  a.bind(next)
  a.test(64, r14, r14)
  a.jcc('e', end)
  emitReadControl(a, r14)
  a.call(region)
  a.aluImm('cmp', 32, { base: r14, disp: control.status * 8 }, 0)
  a.jcc('e', end)
  emitReadSlot(a, r14, r14, control.next)
  a.jmp(next)
  a.bind(end)
  a.movImm(32, at('busy'), 0)
  for (const register of saved.toReversed()) a.pop(register)
  a.ret()
  a.bind(region)
  emitRegion(a, context)
  return a.finish()
}

/**
 * `tasks(args, begin, end, thread)`: a kernel whose iterations are tasks, each of one or more pieces of
 * other kernels. The argument is the address of a table of addresses: where the pieces of each task begin,
 * which lie one after the other in the form of `piece`, and where the last one's end.
 */
export function tasksCode(): Uint8Array {
  const a = new X86Assembler()
  const next = a.label()
  const end = a.label()
  // Three registers keep the stack aligned for the calls.
  const saved = [rbx, r12, r13]
  for (const register of saved) a.push(register)
  a.mov(64, rbx, rcx)
  emitReadSlot(a, rax, rdi, 0)
  a.vector('vcvttsd2si.64', 128, [r12, { base: rax, index: rsi, scale: 8 }])
  a.vector('vcvttsd2si.64', 128, [r13, { base: rax, index: rdx, scale: 8 }])
  a.bind(next)
  a.alu('cmp', 64, r12, r13)
  a.jcc('ae', end)
  emitReadSlot(a, rax, r12, piece.kernel)
  emitReadSlot(a, rdi, r12, piece.args)
  emitReadSlot(a, rsi, r12, piece.begin)
  emitReadSlot(a, rdx, r12, piece.end)
  a.mov(64, rcx, rbx)
  a.aluImm('add', 64, r12, piece.slots * 8)
  a.call(rax)
  a.jmp(next)
  a.bind(end)
  for (const register of saved.toReversed()) a.pop(register)
  a.ret()
  return a.finish()
}

function emitReadSlot(a: X86Assembler, to: number, block: number, slot: number): void {
  a.vector('vcvttsd2si.64', 128, [to, { base: block, disp: slot * 8 }])
}

/** What `emitRegion` expects, out of the control block at the address in `block`. */
function emitReadControl(a: X86Assembler, block: number): void {
  emitReadSlot(a, rdi, block, control.kernel)
  emitReadSlot(a, rdx, block, control.count)
  emitReadSlot(a, rcx, block, control.grain)
  emitReadSlot(a, r9, block, control.wakes)
  a.lea(rsi, { base: block, disp: control.args * 8 })
}

/** Runs the kernel in rdi on the arguments at rsi: count in rdx, grain in rcx, wakes in r9. Returns. */
function emitRegion(a: X86Assembler, context: number): void {
  const alone = a.label()
  const awake = a.label()
  const wait = a.label()
  const spin = a.label()
  const stay = a.label()
  const done = a.label()
  a.alu('cmp', 64, rdx, rcx)
  a.jcc('le', alone)
  a.movImm(64, r8, context)
  a.aluImm('cmp', 32, { base: r8, disp: shared.workers }, 0)
  a.jcc('e', alone)

  // Three registers keep the stack aligned for the calls.
  for (const register of [rbx, r12, r13]) a.push(register)
  a.mov(64, rbx, r8)
  a.movImm(32, r12, 0)
  a.mov(64, at('kernel'), rdi)
  a.mov(64, at('args'), rsi)
  a.mov(64, at('count'), rdx)
  a.mov(64, at('grain'), rcx)
  a.movImm(64, at('next'), 0)
  a.movImm(32, rax, open)
  a.lock('add', 32, at('gate'), rax)
  a.lock('inc', 32, at('sequence'))
  a.test(32, r9, r9)
  a.jcc('e', awake)
  a.aluImm('cmp', 32, at('sleepers'), 0)
  a.jcc('e', awake)
  // Wake no more than there are chunks beside our own.
  a.mov(64, rax, rdx)
  a.aluImm('sub', 64, rax, 1)
  a.cqo()
  a.unary('idiv', 64, rcx)
  a.movImm(32, rdx, 1024)
  a.alu('cmp', 64, rax, rdx)
  a.cmov('l', 64, rdx, rax)
  emitFutex(a, 'sequence', system.wake, () => {})
  a.bind(awake)
  emitChunks(a)
  a.movImm(32, rax, -open)
  a.lock('xadd', 32, at('gate'), rax)
  a.aluImm('cmp', 32, rax, open)
  a.jcc('e', done)

  a.bind(wait)
  emitClock(a, r13)
  a.bind(spin)
  a.aluImm('cmp', 32, at('gate'), 0)
  a.jcc('e', done)
  emitSpin(a, r13, spin)
  // Somebody inside has lost its core, or works for long: give ours away.
  a.movImm(32, rax, 1)
  a.xchg(32, at('waiting'), rax)
  a.mov(32, rdx, at('gate'))
  a.test(32, rdx, rdx)
  a.jcc('e', stay)
  emitFutex(a, 'gate', system.wait, () => {})
  a.bind(stay)
  a.movImm(32, at('waiting'), 0)
  a.jmp(wait)
  a.bind(done)
  for (const register of [r13, r12, rbx]) a.pop(register)
  a.ret()

  a.bind(alone)
  a.mov(64, rax, rdi)
  a.mov(64, rdi, rsi)
  a.movImm(32, rsi, 0)
  a.movImm(32, rcx, 0)
  a.jmpIndirect(rax)
}

/** Takes chunks and runs them until none is left. Expects the context in rbx and the thread's index in r12. */
function emitChunks(a: X86Assembler): void {
  const again = a.label()
  const none = a.label()
  a.bind(again)
  a.mov(64, r8, at('grain'))
  a.mov(64, rsi, r8)
  a.lock('xadd', 64, at('next'), rsi)
  a.mov(64, rdx, at('count'))
  a.alu('cmp', 64, rsi, rdx)
  a.jcc('ge', none)
  a.alu('add', 64, r8, rsi)
  a.alu('cmp', 64, r8, rdx)
  a.cmov('l', 64, rdx, r8)
  a.mov(64, rdi, at('args'))
  a.mov(64, rcx, r12)
  a.call(at('kernel'))
  a.jmp(again)
  a.bind(none)
}

/** Waits on, or wakes those who wait on, a word; `value` puts its third argument into rdx. */
function emitFutex(
  a: X86Assembler,
  word: 'sequence' | 'gate',
  operation: number,
  value: () => void,
  timeout?: 'patience',
): void {
  value()
  a.lea(rdi, at(word))
  a.movImm(32, rsi, operation)
  if (timeout === undefined) a.movImm(32, r10, 0)
  else a.lea(r10, at(timeout))
  a.movImm(32, rax, system.futex)
  a.syscall()
}

// Half of the clock is enough: it wraps within a second or two, and then we spin a little longer.
function emitClock(a: X86Assembler, to: number): void {
  a.rdtsc()
  a.mov(32, to, rax)
}

function emitSpin(a: X86Assembler, since: number, again: Label): void {
  a.pause()
  a.rdtsc()
  a.alu('sub', 32, rax, since)
  a.aluImm('cmp', 32, rax, spinTicks)
  a.jcc('b', again)
}
