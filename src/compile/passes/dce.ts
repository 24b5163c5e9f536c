/** @file Dead code: what nothing depends on is left out. */
import { prune } from '../graph.ts'
import type { Pass } from './pass.ts'

export const dce: Pass = { run: prune }
