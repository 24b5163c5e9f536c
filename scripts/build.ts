/** @file Second half of `npm run build`: the compiler has written the types, this writes the JavaScript. */
import { bundleLibrary } from './bundle-library.ts'

await bundleLibrary('dist')
