/** @file Lists what one TypeScript source imports: statically, dynamically, or as types only. */

import { parseSync, Visitor, type ESTree } from 'rolldown/utils'

export type ImportKind = 'static' | 'dynamic' | 'type'

export interface ImportSite {
  kind: ImportKind
  /** The module asked for; `null` when a dynamic import computes it. */
  specifier: string | null
  line: number
}

/** Reads the import sites of `source` in the order in which they stand. */
export function readImports(path: string, source: string): ImportSite[] {
  const { program, errors } = parseSync(path, source)
  if (errors[0] !== undefined) throw new Error(`${path}: cannot be parsed: ${errors[0].message}`)
  const sites: (ImportSite & { start: number })[] = []
  const add = (kind: ImportKind, node: { start: number }, specifier: string | null) =>
    sites.push({ kind, specifier, line: lineAt(source, node.start), start: node.start })

  // With `verbatimModuleSyntax`, `import { type A }` still loads its module: only `import type` is erased.
  const kindOf = (keyword: string | undefined | null) => (keyword === 'type' ? 'type' : 'static')
  new Visitor({
    ImportDeclaration: (node) => add(kindOf(node.importKind), node, node.source.value),
    ExportAllDeclaration: (node) => add(kindOf(node.exportKind), node, node.source.value),
    ExportNamedDeclaration: (node) => {
      if (node.source) add(kindOf(node.exportKind), node, node.source.value)
    },
    ImportExpression: (node) => add('dynamic', node, literalText(node.source)),
    TSImportType: (node) => add('type', node, node.source.value),
  }).visit(program)
  return sites
    .sort((a, b) => a.start - b.start)
    .map(({ kind, specifier, line }) => ({ kind, specifier, line }))
}

function literalText(node: ESTree.Expression): string | null {
  if (node.type === 'Literal') return typeof node.value === 'string' ? node.value : null
  if (node.type === 'TemplateLiteral' && node.expressions.length === 0)
    return node.quasis[0]?.value.cooked ?? null
  return null
}

function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length
}
