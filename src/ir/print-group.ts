/** @file Prints a group as readable mathematics. */
import { childrenOf, type Axis, type Expr, type Index, type Size } from './expr.ts'
import { rootsOf, visitAll, type Group } from './group.ts'
import type { ScalarOp } from './scalar-op.ts'

/** Rows that are written between their arguments. */
export const infix: Partial<Record<ScalarOp, string>> = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  rem: '%',
  eq: '==',
  ne: '!=',
  lt: '<',
  le: '<=',
  and: '&',
  or: '|',
  xor: '^',
  shl: '<<',
  shr: '>>',
  ushr: '>>>',
}

/**
 * A line per buffer, shared expression, check and store. a, b, c are axes, s0 a size and p0 a scalar
 * of the argument block, b0 a buffer, t0 an expression that is used more than once.
 */
export function printGroup(group: Group): string {
  return new GroupPrinter(group).print()
}

class GroupPrinter {
  readonly #group: Group
  readonly #axes = new Map<Axis, string>()
  readonly #shared = new Map<Expr, string>()

  constructor(group: Group) {
    this.#group = group
    group.axes.forEach((axis) => this.#axisName(axis))
  }

  print(): string {
    const { name, axes, buffers, checks, stores } = this.#group
    const spaces = axes.map((axis) => this.#space(axis))
    const lines = [`group ${name}${spaces.length > 0 ? ` over ${spaces.join(', ')}` : ''}`]
    lines.push(...buffers.map(({ dtype, access }, i) => `  b${i}: ${dtype} ${access}`))
    lines.push(...this.#share())
    lines.push(...checks.map((check) => `  check ${this.#expr(check)}`))
    for (const { buffer, index, value, accumulate } of stores)
      lines.push(
        `  b${buffer}[${this.#index(index)}] ${accumulate ? '+=' : '='} ${this.#expr(value)}`,
      )
    return lines.join('\n')
  }

  // Operations that are used more than once get a line and a name, those below them first.
  #share(): string[] {
    const uses = new Map<Expr, number>()
    const order: Expr[] = []
    const roots = rootsOf(this.#group)
    for (const root of roots) uses.set(root, (uses.get(root) ?? 0) + 1)
    visitAll(roots, (e) => {
      order.push(e)
      for (const child of childrenOf(e)) uses.set(child, (uses.get(child) ?? 0) + 1)
    })
    const isBig = (e: Expr) => e.kind === 'op' || e.kind === 'reduce' || e.kind === 'scan'
    return order
      .filter((e) => isBig(e) && uses.get(e)! > 1)
      .map((e) => {
        const text = this.#expr(e)
        const name = `t${this.#shared.size}`
        this.#shared.set(e, name)
        return `  ${name} = ${text}`
      })
  }

  #expr(e: Expr, isInside = false): string {
    const known = this.#shared.get(e)
    if (known !== undefined) return known
    switch (e.kind) {
      case 'const':
        return `${e.value}`
      case 'param':
        return `p${e.slot}`
      case 'size':
        return size(e.size)
      case 'axis':
        return this.#axisName(e.axis)
      case 'load': {
        const element = `b${e.buffer}[${this.#index(e.index)}]`
        return e.guard ? `(${this.#expr(e.guard)} ? ${element} : ${e.otherwise})` : element
      }
      case 'op': {
        const args = e.args.map((x) => this.#expr(x, true))
        const sign = infix[e.op]
        if (sign === undefined) {
          const name = e.op === 'convert' || e.op === 'bitcast' ? `${e.op} ${e.type}` : e.op
          return `${name}(${e.args.map((x) => this.#expr(x)).join(', ')})`
        }
        const text = args.join(` ${sign} `)
        return isInside ? `(${text})` : text
      }
      case 'reduce':
        return `${e.combine}{${e.axes.map((x) => this.#space(x)).join(', ')}}(${this.#expr(e.value)})`
      case 'scan':
        return `scan ${e.combine}{${this.#axisName(e.axis)}}(${this.#expr(e.value)})`
    }
  }

  #index({ offset, terms }: Index): string {
    const parts = terms.map(({ index, stride }) => {
      const text = this.#expr(index, true)
      return stride === 1 ? text : `${text}*${size(stride)}`
    })
    if (offset !== 0 || parts.length === 0) parts.push(size(offset))
    return parts.join(' + ')
  }

  #space(axis: Axis): string {
    return `${this.#axisName(axis)} < ${size(axis.extent)}`
  }

  #axisName(axis: Axis): string {
    let name = this.#axes.get(axis)
    if (name === undefined) {
      const n = this.#axes.size
      const round = Math.floor(n / 26)
      name = String.fromCharCode(97 + (n % 26)) + (round > 0 ? round : '')
      this.#axes.set(axis, name)
    }
    return name
  }
}

const size = (s: Size): string => (typeof s === 'number' ? `${s}` : `s${s.slot}`)
