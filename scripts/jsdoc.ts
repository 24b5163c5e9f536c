/** @file Pairs the exports of a TypeScript source, and the members of its classes, with their JSDoc. */

import { parseSync, type ESTree } from 'rolldown/utils'

export interface Declared {
  /** `name`, or `Class.member`. */
  symbol: string
  kind: 'function' | 'class' | 'value' | 'member'
  /** Lines of the JSDoc without its stars; none when there is no JSDoc. */
  doc: string[] | undefined
  /** Line of the declaration, and of the first line of its JSDoc. */
  line: number
  docLine: number
}

/** A re-export: `name` is what the other file calls it, `*` for everything. */
export interface Reexport {
  name: string
  exportedAs: string
  specifier: string
}

export interface SourceExports {
  declared: Declared[]
  reexports: Reexport[]
}

/** Reads what a file exports; types and interfaces are left out. */
export function readExports(path: string, source: string): SourceExports {
  const { program, comments, errors } = parseSync(path, source)
  if (errors[0] !== undefined) throw new Error(`${path}: cannot be parsed: ${errors[0].message}`)
  const docs = comments.filter((c) => c.type === 'Block' && /^\*(?!\s*@file\b)/.test(c.value))
  const lineOf = (offset: number) => source.slice(0, offset).split('\n').length
  const found: SourceExports = { declared: [], reexports: [] }

  const add = (symbol: string, kind: Declared['kind'], node: ESTree.Span) => {
    const doc = docs.findLast(
      (c) => c.end <= node.start && source.slice(c.end, node.start).trim() === '',
    )
    const line = lineOf(node.start)
    const docLine = doc === undefined ? line : lineOf(doc.start)
    found.declared.push({ symbol, kind, doc: doc && docLines(doc.value), line, docLine })
  }
  const addDeclaration = (declaration: ESTree.Declaration, node: ESTree.Span) => {
    if (declaration.type === 'FunctionDeclaration' || declaration.type === 'TSDeclareFunction') {
      add(declaration.id!.name, 'function', node)
    } else if (declaration.type === 'ClassDeclaration') {
      const name = declaration.id!.name
      add(name, 'class', node)
      for (const member of declaration.body.body) {
        const memberName = nameOfMember(member)
        if (memberName !== undefined) add(`${name}.${memberName}`, 'member', member)
      }
    } else if (declaration.type === 'VariableDeclaration') {
      for (const { id, init } of declaration.declarations)
        if (id.type === 'Identifier') add(id.name, isCallable(init) ? 'function' : 'value', node)
    }
  }

  for (const node of program.body) {
    if (node.type === 'ExportNamedDeclaration') {
      if (node.declaration) addDeclaration(node.declaration, node)
      else if (node.exportKind !== 'type') addReexports(node, program, found, addDeclaration)
    } else if (node.type === 'ExportAllDeclaration' && node.exportKind !== 'type') {
      const exportedAs = node.exported ? nameOfModuleExport(node.exported) : '*'
      found.reexports.push({ name: '*', exportedAs, specifier: node.source.value })
    }
  }
  return found
}

/** `export { a } from './a.ts'` is a re-export; `export { a }` exports a declaration of this file. */
function addReexports(
  node: ESTree.ExportNamedDeclaration,
  program: ESTree.Program,
  found: SourceExports,
  addDeclaration: (declaration: ESTree.Declaration, node: ESTree.Span) => void,
): void {
  for (const { local, exported, exportKind } of node.specifiers) {
    if (exportKind === 'type') continue
    const name = nameOfModuleExport(local)
    if (node.source) {
      const exportedAs = nameOfModuleExport(exported)
      found.reexports.push({ name, exportedAs, specifier: node.source.value })
    } else {
      for (const statement of program.body)
        if (declaresName(statement, name))
          addDeclaration(statement as ESTree.Declaration, statement)
    }
  }
}

function declaresName(node: ESTree.Statement | ESTree.Directive, name: string): boolean {
  if (node.type === 'VariableDeclaration')
    return node.declarations.some(({ id }) => id.type === 'Identifier' && id.name === name)
  if (node.type === 'FunctionDeclaration' || node.type === 'ClassDeclaration')
    return node.id?.name === name
  return false
}

/** A constant made by a call counts as a function: that is how factories make operations. */
function isCallable(init: ESTree.Expression | null): boolean {
  return (
    init?.type === 'ArrowFunctionExpression' ||
    init?.type === 'FunctionExpression' ||
    init?.type === 'CallExpression'
  )
}

function nameOfMember(member: ESTree.ClassElement): string | undefined {
  if (!('key' in member) || member.computed) return undefined
  return member.key.type === 'Identifier' ? member.key.name : undefined
}

function nameOfModuleExport(node: ESTree.ModuleExportName): string {
  return node.type === 'Literal' ? node.value : node.name
}

function docLines(comment: string): string[] {
  return comment
    .replace(/^\*/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
}
