/** @file The version of the library, as package.json has it; a test compares the two. */

/** Written into the files that the library makes. */
export const version = '0.1.0'
