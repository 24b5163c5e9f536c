import { defineConfig } from 'vitest/config'

const onMachineCode = ['test/ops/machine-code.test.ts', 'test/backend/cpu-accuracy.test.ts']

/** The op table once more, and accuracy, where the switches of the cpu backend are set to find what is wrong. */
const machineCode = (level: 'avx2' | 'avx512') => ({
  extends: true as const,
  test: {
    name: level,
    include: onMachineCode,
    env: {
      TANDEM_BACKEND: '',
      TANDEM_CPU: level,
      TANDEM_NUM_THREADS: '2',
      TANDEM_SHARE_ALL: '1',
      TANDEM_STREAM_ALL: '1',
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
          exclude: onMachineCode,
        },
      },
      machineCode('avx2'),
      machineCode('avx512'),
    ],
  },
})
