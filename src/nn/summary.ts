/** @file The table that `module.summary` gives. */
import { formatShape, type Shape } from '../core/shape.ts'
import { zeros } from '../ops/create.ts'
import type { Parameter } from '../tensor/cell.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import type { Module } from './module.ts'

/** One line per layer that holds parameters or no further modules, in the order they run. */
export function summarize(module: Module, inputs: readonly (Shape | Tensor)[]): string {
  const shapes = inputs.length === 0 ? new Map<Module, string>() : outputShapes(module, inputs)
  const listed = module
    .namedModules()
    .filter(([, m]) => m.children().length === 0 || ownCount(m) > 0)
    .map(([path, m]) => ({ path, module: m }))
  const order = [...shapes.keys()]
  const rank = (m: Module) => (shapes.has(m) ? order.indexOf(m) : order.length)
  listed.sort((a, b) => rank(a.module) - rank(b.module))
  const header = ['Layer', ...(inputs.length > 0 ? ['Output shape'] : []), 'Parameters']
  const rows = listed.map(({ path, module: m }) => [
    path === '' ? m.constructor.name : `${path} (${m.constructor.name})`,
    ...(inputs.length > 0 ? [shapes.get(m) ?? 'not run'] : []),
    grouped(ownCount(m)),
  ])
  const all = module.parameters()
  const trainable = count(all.filter((p) => p.requiresGrad))
  return [
    module.constructor.name,
    ...table(header, rows),
    `Parameters: ${grouped(count(all))}, of which ${grouped(trainable)} trainable`,
  ].join('\n')
}

// Innermost calls finish first, so modules come in the order in which they gave their output.
function outputShapes(module: Module, inputs: readonly (Shape | Tensor)[]): Map<Module, string> {
  const shapes = new Map<Module, string>()
  const modules = module.modules()
  const modes = modules.map((m) => m.training)
  const removers = modules.map((m) =>
    m.registerForwardHook((_, __, output) => {
      if (!shapes.has(m)) shapes.set(m, describe(output))
    }),
  )
  try {
    module.eval()
    const run = module.forward.bind(module) as (...xs: Tensor[]) => unknown
    noGrad(() => run(...inputs.map((x) => (x instanceof Tensor ? x : zerosFor(module, x)))))
  } finally {
    for (const remove of removers) remove()
    modules.forEach((m, i) => (m.training = modes[i]!))
  }
  return shapes
}

function zerosFor(module: Module, shape: Shape): Tensor {
  const [first] = module.parameters()
  return first === undefined
    ? zeros(shape)
    : zeros(shape, { dtype: first.dtype, device: first.device })
}

function describe(output: unknown): string {
  if (output instanceof Tensor) return formatShape(output.shape)
  if (Array.isArray(output)) return output.map(describe).join(', ')
  return typeof output
}

const ownCount = (module: Module) => {
  const inside = new Set(module.children().flatMap((child) => child.parameters()))
  return count(module.parameters().filter((p) => !inside.has(p)))
}

const count = (parameters: readonly Parameter[]) => parameters.reduce((n, p) => n + p.size, 0)

const grouped = (n: number) => String(n).replace(/\B(?=(\d{3})+$)/g, ',')

/** Columns as wide as their widest cell; the last one is right-aligned. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((r) => r[i]!.length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) =>
        i === cells.length - 1 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!),
      )
      .join('  ')
  const rule = '-'.repeat(widths.reduce((a, b) => a + b + 2, -2))
  return [rule, line(header), rule, ...rows.map(line), rule]
}
