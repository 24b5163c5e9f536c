/** @file Prints a kernel in loop form as readable pseudo-code. */
import type { Definition, Kernel, Place, Statement, Value } from './loops.ts'
import { infix } from './print-group.ts'

/** One statement per line; v: values, i: loop indices, s: sizes, p: scalars, x: variables, b: buffers. */
export function printKernel(kernel: Kernel): string {
  const buffers = kernel.buffers.map((b, i) => `b${i}: ${b.memory}${b.written ? ' written' : ''}`)
  const scratch = kernel.scratchBytes > 0 ? `    # ${kernel.scratchBytes} bytes of scratch` : ''
  return [
    `kernel ${kernel.name}(${buffers.join(', ')})${scratch}`,
    ...block(kernel.body, '  '),
  ].join('\n')
}

function block(statements: readonly Statement[], indent: string): string[] {
  return statements.flatMap((s) => statement(s, indent))
}

function statement(s: Statement, indent: string): string[] {
  switch (s.kind) {
    case 'let':
      if (s.value.def.kind === 'const') return []
      return [`${indent}${name(s.value)} = ${definition(s.value)}`]
    case 'set':
      return [`${indent}x${s.variable.id} = ${name(s.value)}`]
    case 'store':
      return [`${indent}store ${place(s.place)} = ${name(s.value)}${mask(s.mask)}`]
    case 'prefetch':
      return [`${indent}prefetch ${place(s.place)}`]
    case 'if':
      return [`${indent}if ${name(s.condition)}`, ...block(s.then, `${indent}  `)]
    case 'for': {
      const step = s.step === 1 ? '' : ` step ${s.step}`
      const range = `${name(s.begin)}..${name(s.end)}`
      const run = s.runEnd ? `, in runs that end at ${name(s.runEnd)}` : ''
      const head = `for ${name(s.index)} in ${range}${step}${s.parallel ? ' parallel' : ''}${run}`
      return [indent + head, ...block(s.body, `${indent}  `)]
    }
  }
}

function definition(value: Value): string {
  const { def } = value
  const type = value.lanes > 1 ? `${value.type}x${value.lanes}` : value.type
  switch (def.kind) {
    case 'const':
    case 'index':
      return name(value)
    case 'size':
      return `s${def.slot}`
    case 'param':
      return `p${def.slot} : ${type}`
    case 'op':
      return operation(def, type)
    case 'splat':
      return `splat ${name(def.arg)} : ${type}`
    case 'iota':
      return `iota : ${type}`
    case 'lanesBelow':
      return `lanes below ${name(def.count)} : ${type}`
    case 'across':
      return `reduce ${def.combine} ${name(def.arg)} : ${type}`
    case 'load':
      return `load ${place(def.place)}${mask(def.mask)} : ${type}`
    case 'gather':
      return `gather ${place(def.place)}${mask(def.mask)} : ${type}`
    case 'transposed':
      return `column ${def.row} of (${def.rows.map(name).join(', ')}) : ${type}`
    case 'read':
      return `x${def.variable.id}`
  }
}

function operation({ op, args }: Definition & { kind: 'op' }, type: string): string {
  const sign = infix[op]
  const names = args.map(name)
  if (sign !== undefined) return names.join(` ${sign} `)
  const stated = op === 'convert' || op === 'bitcast' ? ` : ${type}` : ''
  return `${op}(${names.join(', ')})${stated}`
}

function name(value: Value): string {
  if (value.def.kind === 'const') return `${value.def.value}`
  return `${value.def.kind === 'index' ? 'i' : 'v'}${value.id}`
}

function place({ buffer, index, offset }: Place): string {
  if (offset === 0) return `b${buffer}[${name(index)}]`
  return index.def.kind === 'const'
    ? `b${buffer}[${Number(index.def.value) + offset}]`
    : `b${buffer}[${name(index)} + ${offset}]`
}

const mask = (value: Value | undefined): string => (value ? ` mask ${name(value)}` : '')
