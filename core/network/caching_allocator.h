#pragma once
// Memory of tensors kept for the next of the same size.

namespace canvaslab {

/// From now on the process's CPU tensors take memory from lists of blocks by size, and give it back there: a training step
/// asks for the same sizes as the one before, and the system's allocator spends a seventh of it on splitting, joining and
/// clearing. Nothing is given back to the system; for programs that train. Safe to call twice.
void keep_tensor_memory();

}  // namespace canvaslab
