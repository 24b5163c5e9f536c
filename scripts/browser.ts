/** @file `npm run browser`: bundles the browser example and serves it. PORT chooses the port. */
import { browserFolder, bundleBrowser, sizeLines } from './bundle-browser.ts'
import { serveFolder } from './static-server.ts'

const files = await bundleBrowser()
console.log(sizeLines(files).join('\n'))
const { url } = await serveFolder(browserFolder, Number(process.env['PORT'] ?? 8080))
console.log(`\n${browserFolder}/ is ready for any static server. Here it is: ${url}  (Ctrl+C ends)`)
