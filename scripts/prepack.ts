/** @file `npm pack` and `npm publish` run it: leaves in dist the declarations and few JavaScript files. */
import { readdirSync, rmSync } from 'node:fs'
import { bundleLibrary } from './bundle-library.ts'

for (const path of readdirSync('dist', { recursive: true, encoding: 'utf8' }))
  if (/\.js(\.map)?$|\.tsbuildinfo$/.test(path)) rmSync(`dist/${path}`)
await bundleLibrary('dist')
