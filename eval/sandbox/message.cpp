#include "eval/sandbox/message.h"

#include "core/json.h"

namespace canvaslab {

class Message::Reader final : public nlohmann::json_sax<Json> {
 public:
  explicit Reader(std::map<std::string, Member>& members) : members_(members) {}
  bool null() override { return keep({}); }
  bool boolean(bool value) override { return keep({.is_text = false, .is_true = value, .text = ""}); }
  bool number_integer(number_integer_t) override { return keep({}); }
  bool number_unsigned(number_unsigned_t) override { return keep({}); }
  bool number_float(number_float_t, const string_t&) override { return keep({}); }
  bool string(string_t& value) override { return keep({.is_text = true, .is_true = false, .text = depth_ == 1 ? std::move(value) : ""}); }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& value) override {
    if (depth_ == 1) key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool open(bool object) {
    if (depth_ == 0 && !object) return false;
    if (depth_ == 1) keep({});
    ++depth_;
    return true;
  }
  bool keep(Member member) {
    if (depth_ == 0) return false;
    if (depth_ == 1) members_[key_] = std::move(member);
    return true;
  }
  std::map<std::string, Member>& members_;
  std::string key_;
  size_t depth_ = 0;
};

Message::Message(std::string_view json) {
  Reader reader(members_);
  if (!Json::sax_parse(json, &reader)) members_.clear();
}

bool Message::is_true(const std::string& key) const {
  const auto at = members_.find(key);
  return at != members_.end() && at->second.is_true;
}

std::string Message::text(const std::string& key) const {
  const auto at = members_.find(key);
  return at != members_.end() && at->second.is_text ? at->second.text : "";
}

}  // namespace canvaslab
