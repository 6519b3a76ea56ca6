#pragma once
// Kernels thread by thread on the processor: memory is memory.
#include "tests/support/kernels/host.h"
#include "tests/support/simt.h"
