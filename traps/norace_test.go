//go:build !race

package traps

// heldLimit is the memory that one held connection may take, in bytes.
const heldLimit = 12 << 10
