#pragma once
// Parquet behind one C function, in a library of its own: Arrow costs every program that links it 15 ms at start, and not
// every machine has it. eval/rows_parquet.cpp loads it when a Parquet file is read.
#include <cstddef>

extern "C" {
/// Calls row(context, json, size) for every row, as a JSON object. Returns 0, or 1 with a message in error. What `row`
/// throws passes through.
using CanvaslabParquetRow = void (*)(void* context, const char* json, size_t size);
using CanvaslabReadParquet = int (*)(const char* path, void* context, CanvaslabParquetRow row, char* error, size_t error_size);
}
