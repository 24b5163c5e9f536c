/** @file Choices that were timed on this machine, kept in a file between processes. */
import { debug } from '../../util/config.ts'
import type { Choices } from '../backend.ts'
import { fs, hashOf, isMissing, writeWhole } from './kept-file.ts'

/** The latest stay. */
const mostChoices = 10_000

/**
 * A JSON object: hash of a name to choice. The file appears whole, by renaming. Of two processes that write at
 * the same time, what one of them found may be lost: it is timed again. A choice is one of several that are all
 * right, and whoever reads it checks that it is: the file need not be trusted.
 */
export class ChoiceFile implements Choices {
  readonly #path: string | undefined
  #choices: Map<string, string> | undefined

  /** Without a path choices are those of this process. */
  constructor(path: string | undefined) {
    this.#path = path
  }

  get(name: string): string | undefined {
    this.#choices ??= this.#read()
    return this.#choices.get(hashOf(name))
  }

  set(name: string, choice: string): void {
    // Others may have written meanwhile.
    const choices = new Map([...(this.#choices ?? []), ...this.#read()])
    choices.delete(hashOf(name))
    choices.set(hashOf(name), choice)
    this.#choices = new Map([...choices].slice(-mostChoices))
    this.#write(this.#choices)
  }

  #read(): Map<string, string> {
    const path = this.#path
    if (path === undefined) return new Map()
    try {
      const content: unknown = JSON.parse(fs.readFileSync(path, 'utf8'))
      if (typeof content !== 'object' || content === null || Array.isArray(content))
        throw new Error('it is no object of choices')
      return new Map(Object.entries(content).filter(([, x]) => typeof x === 'string'))
    } catch (error) {
      if (!isMissing(error)) debug(1, () => `cpu: ${path} is not used: ${(error as Error).message}`)
      return new Map()
    }
  }

  #write(choices: ReadonlyMap<string, string>): void {
    const path = this.#path
    if (path === undefined) return
    try {
      writeWhole(path, JSON.stringify(Object.fromEntries(choices)))
    } catch (error) {
      debug(1, () => `cpu: choices are not kept in ${path}: ${(error as Error).message}`)
    }
  }
}
