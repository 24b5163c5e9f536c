import { defineConfig } from 'vitest/config'

/** The op table once more, where every switch of the cpu backend is set to find what is wrong with a kernel. */
const machineCode = (level: 'avx2' | 'avx512') => ({
  extends: true as const,
  test: {
    name: level,
    include: ['test/ops/machine-code.test.ts'],
    env: {
      TANDEM_BACKEND: '',
      TANDEM_CPU: level,
      TANDEM_NUM_THREADS: '2',
      TANDEM_SHARE_ALL: '1',
      TANDEM_GUARD: '1',
    },
  },
})

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    pool: 'forks',
    testTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'all',
          include: ['test/**/*.test.ts'],
          exclude: ['test/ops/machine-code.test.ts'],
        },
      },
      machineCode('avx2'),
      machineCode('avx512'),
    ],
  },
})
