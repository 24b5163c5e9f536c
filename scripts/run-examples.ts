/** @file Turns an example from a JSDoc comment into a checked program, and runs it. */

import { parseSync, transformSync, Visitor, type ESTree } from 'rolldown/utils'
import { Printed, printsAs, showValue } from './show-value.ts'

/** Modules an example may import, by the name it imports them with. */
export type ModuleTable = Readonly<Record<string, object>>

/** A comment that says what a statement gives or throws. */
export interface Assertion {
  kind: 'value' | 'throws'
  /** The printed value, or the start of the error's message. */
  text: string
  /** The error's class; empty for a value. */
  errorName: string
  line: number
}

interface Edit {
  start: number
  end: number
  text: string
}

/**
 * Runs one example: `scope` holds the names it can use without an import, `modules` what it can
 * import; `device` is the default one here, which examples call `cpu`. Throws when an assertion
 * fails, is never reached, or does not follow a statement.
 */
export async function runExample(
  code: string,
  scope: Readonly<Record<string, unknown>>,
  modules: ModuleTable = {},
  device = 'cpu',
): Promise<void> {
  const { program, assertions } = compileExample(code)
  const reached = new Set<Assertion>()
  const at = (index: number) => {
    reached.add(assertions[index]!)
    return assertions[index]!
  }
  const names = {
    ...scope,
    console: { ...console, log: (...values: unknown[]) => new Printed(values) },
    __check: (index: number, value: unknown) => checkValue(at(index), value, device),
    __throws: (index: number, body: () => Promise<void>) => checkThrows(at(index), body),
    __import: (name: string) => {
      if (modules[name] === undefined) throw new Error(`example: there is no module '${name}'`)
      return modules[name]
    },
  }
  const main = new AsyncFunction(...Object.keys(names), program)
  await main(...Object.values(names))
  const missed = assertions.find((assertion) => !reached.has(assertion))
  if (missed !== undefined) throw new Error(`example, line ${missed.line}: this line never ran`)
}

/** Throws when an example that is not to be run does not even parse. */
export function parseExample(code: string): void {
  const { errors } = transformSync('example.ts', code, { sourceType: 'module' })
  if (errors[0] !== undefined) throw new SyntaxError(`example: ${errors[0].message}`)
}

/** Strips the types and weaves the assertions in; throws when the code does not parse. */
export function compileExample(code: string): { program: string; assertions: Assertion[] } {
  const { program, comments, errors } = parseSync('example.ts', code, { sourceType: 'module' })
  if (errors[0] !== undefined) throw new SyntaxError(`example: ${errors[0].message}`)
  const assertions: Assertion[] = []
  const edits: Edit[] = program.body.flatMap((node) =>
    node.type === 'ImportDeclaration' ? [importEdit(node)] : [],
  )
  const statements = checkableStatements(program)
  comments.forEach((comment, i) => {
    const line = code.slice(0, comment.start).split('\n').length
    const assertion = readAssertion(comment.value, comments.slice(i + 1), line)
    if (assertion === undefined) return
    const statement = statements.find(
      ({ end }) => end <= comment.start && /^\s*;?\s*$/.test(code.slice(end, comment.start)),
    )
    if (statement === undefined)
      throw new Error(`example, line ${line}: '//${comment.value}' does not follow a statement`)
    edits.push(...assertionEdits(assertion, assertions.length, statement))
    assertions.push(assertion)
  })
  // Without its imports, the code would pass for a script, where top-level await is an error.
  const stripped = transformSync('example.ts', applyEdits(code, edits), { sourceType: 'module' })
  if (stripped.errors[0] !== undefined)
    throw new SyntaxError(`example: ${stripped.errors[0].message}`)
  // The block lets an example declare a name that is also in scope.
  return {
    program: `'use strict'; {\n${stripped.code.replace(/^export \{\};?$/m, '')}\n}`,
    assertions,
  }
}

type Checkable = ESTree.ExpressionStatement | ESTree.VariableDeclaration

/** Outer statements come first, so that they win over what they contain. */
function checkableStatements(program: ESTree.Program): Checkable[] {
  const found: Checkable[] = []
  new Visitor({
    ExpressionStatement: (node) => void found.push(node),
    VariableDeclaration: (node) => void found.push(node),
  }).visit(program)
  return found
}

function readAssertion(
  comment: string,
  following: readonly { value: string }[],
  line: number,
): Assertion | undefined {
  const value = /^\s*(?:->|→)\s*(.*)$/s.exec(comment)
  if (value !== null) {
    let text = value[1]!
    // A value printed over several lines goes on until its brackets are closed.
    for (const next of following) {
      if (isBalanced(text)) break
      text += `\n${next.value}`
    }
    return { kind: 'value', text, errorName: '', line }
  }
  const error = /^\s*((?:[A-Z]\w*)?Error): (.*)$/s.exec(comment)
  if (error === null) return undefined
  return { kind: 'throws', text: error[2]!, errorName: error[1]!, line }
}

function isBalanced(text: string): boolean {
  return (text.match(/[[({]/g) ?? []).length <= (text.match(/[\])}]/g) ?? []).length
}

function assertionEdits(assertion: Assertion, index: number, statement: Checkable): Edit[] {
  const insert = (position: number, text: string) => ({ start: position, end: position, text })
  const { start, end } = statement
  if (assertion.kind === 'throws')
    return [insert(start, `await __throws(${index}, async () => {`), insert(end, '\n})')]
  if (statement.type === 'ExpressionStatement') {
    const { expression } = statement
    return [insert(expression.start, `__check(${index}, (`), insert(expression.end, '))')]
  }
  const names = statement.declarations.map(({ id }) => (id.type === 'Identifier' ? id.name : ''))
  if (names.length !== 1 || names[0] === '')
    throw new Error(`example, line ${assertion.line}: assert one variable at a time`)
  return [insert(end, `;__check(${index}, ${names[0]})`)]
}

function importEdit(node: ESTree.ImportDeclaration): Edit {
  const { start, end } = node
  if (node.importKind === 'type') return { start, end, text: '' }
  const source = `__import('${node.source.value}')`
  const lines: string[] = []
  for (const specifier of node.specifiers) {
    const local = specifier.local.name
    if (specifier.type === 'ImportNamespaceSpecifier') lines.push(`const ${local} = ${source}`)
    else if (specifier.type === 'ImportDefaultSpecifier')
      throw new Error(`example: '${node.source.value}' has no default export`)
    else if (specifier.importKind !== 'type') {
      const { imported } = specifier
      const name = imported.type === 'Literal' ? imported.value : imported.name
      lines.push(`const { ${name}: ${local} } = ${source}`)
    }
  }
  return { start, end, text: `${lines.join(';')};` }
}

function applyEdits(code: string, edits: readonly Edit[]): string {
  let result = code
  for (const { start, end, text } of edits.toSorted((a, b) => b.start - a.start))
    result = result.slice(0, start) + text + result.slice(end)
  return result
}

function checkValue({ text, line }: Assertion, value: unknown, device: string): unknown {
  if (!printsAs(value, text, device))
    throw new Error(`example, line ${line}: expected ${text}, received ${showValue(value)}`)
  return value
}

async function checkThrows(assertion: Assertion, body: () => Promise<void>): Promise<void> {
  const { errorName, text, line } = assertion
  const expected = text.replace(/\s*(\.\.\.|…)\s*$/, '')
  try {
    await body()
  } catch (error) {
    if (error instanceof Error && classNames(error).includes(errorName)) {
      if (error.message.replace(/\s+/g, ' ').startsWith(expected.replace(/\s+/g, ' '))) return
    }
    throw new Error(
      `example, line ${line}: expected ${errorName}: ${text}, received ${String(error)}`,
      {
        cause: error,
      },
    )
  }
  throw new Error(`example, line ${line}: expected ${errorName}, but nothing was thrown`)
}

/** The error's own name, and the names of its class and of those above it. */
function classNames(error: Error): string[] {
  const names = [error.name]
  for (let p = prototypeOf(error); p !== Object.prototype; p = prototypeOf(p))
    names.push(p.constructor.name)
  return names
}

function prototypeOf(value: object): object {
  return Object.getPrototypeOf(value) as object
}

type AnyAsyncFunction = new (...source: string[]) => (...args: unknown[]) => Promise<void>

const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as AnyAsyncFunction
