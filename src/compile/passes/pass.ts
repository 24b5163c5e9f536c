/** @file What a pass is. */
import type { Graph } from '../graph.ts'

/**
 * Makes another graph that computes the same: with the same inputs, as many outputs, and updates of the same
 * states. Of calls that are computed again for the backward pass it makes none that are not.
 */
export interface Pass {
  run(graph: Graph): Graph
}
