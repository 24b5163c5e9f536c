/** @file Checks that imports in src/ point down only; `--verbose` also lists what is allowed but worth a look. */

import { checkLayers } from './layers-core.ts'
import { readSources } from './source-files.ts'

const files = readSources('src')
const { violations, notes } = checkLayers(files)
if (process.argv.includes('--verbose')) for (const note of notes) console.log(`note: ${note}`)
for (const violation of violations) console.error(violation)
if (violations.length > 0) {
  console.error(`layers: ${violations.length} broken`)
  process.exitCode = 1
} else {
  console.log(`layers: ${files.size} files, all imports point down`)
}
