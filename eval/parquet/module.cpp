#include "eval/parquet/module.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using Json = nlohmann::json;

/// What a file's column names and the reader's options may choose freely (dictionaries, large or view strings) comes out
/// the same. Null becomes null.
Json json_of(const arrow::Scalar& scalar) {
  if (!scalar.is_valid) return nullptr;
  const auto integer = [](const auto& value) { return Json(value.value); };
  switch (scalar.type->id()) {
    case arrow::Type::BOOL: return static_cast<const arrow::BooleanScalar&>(scalar).value;
    case arrow::Type::INT8: return integer(static_cast<const arrow::Int8Scalar&>(scalar));
    case arrow::Type::INT16: return integer(static_cast<const arrow::Int16Scalar&>(scalar));
    case arrow::Type::INT32: return integer(static_cast<const arrow::Int32Scalar&>(scalar));
    case arrow::Type::INT64: return integer(static_cast<const arrow::Int64Scalar&>(scalar));
    case arrow::Type::UINT8: return integer(static_cast<const arrow::UInt8Scalar&>(scalar));
    case arrow::Type::UINT16: return integer(static_cast<const arrow::UInt16Scalar&>(scalar));
    case arrow::Type::UINT32: return integer(static_cast<const arrow::UInt32Scalar&>(scalar));
    case arrow::Type::UINT64: return integer(static_cast<const arrow::UInt64Scalar&>(scalar));
    case arrow::Type::FLOAT: return integer(static_cast<const arrow::FloatScalar&>(scalar));
    case arrow::Type::DOUBLE: return integer(static_cast<const arrow::DoubleScalar&>(scalar));
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW: return std::string(static_cast<const arrow::BaseBinaryScalar&>(scalar).view());
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::FIXED_SIZE_BINARY: return {{"num_bytes", static_cast<const arrow::BaseBinaryScalar&>(scalar).view().size()}};
    case arrow::Type::DICTIONARY: return json_of(**static_cast<const arrow::DictionaryScalar&>(scalar).GetEncodedValue());
    case arrow::Type::LIST:
    case arrow::Type::LARGE_LIST:
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = *static_cast<const arrow::BaseListScalar&>(scalar).value;
      Json out = Json::array();
      for (int64_t i = 0; i < list.length(); ++i) out.push_back(json_of(**list.GetScalar(i)));
      return out;
    }
    case arrow::Type::STRUCT: {
      Json out = Json::object();
      const auto& fields = static_cast<const arrow::StructScalar&>(scalar);
      for (size_t i = 0; i < fields.value.size(); ++i) out[fields.type->field(static_cast<int>(i))->name()] = json_of(*fields.value[i]);
      return out;
    }
    default: return scalar.ToString();
  }
}

/// One row group at a time: memory is the largest of them.
arrow::Status read(const std::string& path, void* context, CanvaslabParquetRow row) {
  ARROW_ASSIGN_OR_RAISE(auto input, arrow::io::ReadableFile::Open(path));
  ARROW_ASSIGN_OR_RAISE(auto reader, parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
  for (int group = 0; group < reader->num_row_groups(); ++group) {
    ARROW_ASSIGN_OR_RAISE(auto table, reader->ReadRowGroup(group));
    ARROW_RETURN_NOT_OK(table->ValidateFull());
    const auto names = table->ColumnNames();
    for (int64_t i = 0; i < table->num_rows(); ++i) {
      Json object = Json::object();
      for (int c = 0; c < table->num_columns(); ++c) {
        ARROW_ASSIGN_OR_RAISE(const auto scalar, table->column(c)->GetScalar(i));
        object[names[static_cast<size_t>(c)]] = json_of(*scalar);
      }
      const std::string text = object.dump();
      row(context, text.data(), text.size());
    }
  }
  return arrow::Status::OK();
}

}  // namespace

extern "C" int canvaslab_read_parquet(const char* path, void* context, CanvaslabParquetRow row, char* error, size_t error_size) {
  const auto said = [&](const std::string& what) {
    std::snprintf(error, error_size, "%s", what.c_str());
    return 1;
  };
  try {
    const arrow::Status status = read(path, context, row);
    return status.ok() ? 0 : said(status.message());
  } catch (const parquet::ParquetException& problem) {
    return said(problem.what());
  } catch (const Json::exception& problem) {  // a text that is no UTF-8
    return said(problem.what());
  }
}
