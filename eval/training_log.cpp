#include "eval/training_log.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "core/durable_file.h"
#include "core/error.h"
#include "core/h5.h"
#include "core/json.h"

namespace canvaslab {
namespace {

Json json_of(const TrainingStep& s) {
  Json batches = Json::array();
  for (size_t i = 0; i < s.tasks.size(); ++i) {
    const BatchLosses& b = s.losses.batches[i];
    batches.push_back({{"task", s.tasks[i]}, {"diffusion", b.diffusion}, {"noisiest", b.noisiest}, {"causal", b.causal}});
  }
  return {{"step", s.step}, {"tokens", s.losses.tokens}, {"seconds", s.seconds}, {"learning_rate", s.losses.learning_rate}, {"gradient_norm", s.losses.gradient_norm}, {"balance", s.losses.balance},
          {"batches", std::move(batches)}};
}
Json json_of(const EvaluationLine& line) {
  return {{"step", line.step}, {"task", line.task}, {"settings", line.settings}, {"num_items", line.num_items}, {"accuracy", line.accuracy}, {"tokens_per_forward", line.tokens_per_forward}};
}

/// null is how JSON writes NaN.
double real(const Json& value) { return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>(); }

EvaluationLine evaluation_of(const Json& object) {
  return {.step = object.at("step"), .task = object.at("task"), .settings = object.at("settings"), .num_items = object.at("num_items"), .accuracy = object.at("accuracy"),
          .tokens_per_forward = real(object.at("tokens_per_forward"))};
}

TrainingStep step_of(const Json& object, size_t num_tasks) {
  TrainingStep out{.step = object.at("step"), .seconds = object.at("seconds"), .losses = {}, .tasks = {}};
  out.losses.tokens = object.at("tokens");
  out.losses.learning_rate = object.at("learning_rate");
  out.losses.gradient_norm = object.at("gradient_norm");
  out.losses.balance = object.at("balance");
  for (const auto& batch : object.at("batches")) {
    out.tasks.push_back(batch.at("task"));
    if (out.tasks.back() >= num_tasks) throw std::invalid_argument(fmt::format("task {} of {}", out.tasks.back(), num_tasks));
    BatchLosses losses;
    losses.diffusion = real(batch.at("diffusion")), losses.noisiest = real(batch.at("noisiest")), losses.causal = real(batch.at("causal"));
    out.losses.batches.push_back(losses);
  }
  return out;
}

}  // namespace

void TrainingMeans::Mean::add(double x) {
  if (std::isnan(x)) return;
  sum += x;
  ++count;
}
double TrainingMeans::Mean::take() { return std::exchange(sum, 0) / std::exchange(count, 0); }

void TrainingMeans::add(const TrainingStep& s) {
  for (size_t i = 0; i < s.tasks.size(); ++i) {
    diffusion_[s.tasks[i]].add(s.losses.batches[i].diffusion);
    noisiest_[s.tasks[i]].add(s.losses.batches[i].noisiest);
    causal_[s.tasks[i]].add(s.losses.batches[i].causal);
  }
  learning_rate_.add(s.losses.learning_rate);
  gradient_norm_.add(s.losses.gradient_norm);
  balance_.add(s.losses.balance);
  step_ = s.step;
  seconds_ = s.seconds;
  tokens_ += s.losses.tokens;
}

TrainingLine TrainingMeans::take() {
  const auto all = [](std::vector<Mean>& means) {
    std::vector<double> values;
    for (auto& mean : means) values.push_back(mean.take());
    return values;
  };
  return {.step = step_, .tokens = tokens_, .seconds = seconds_, .learning_rate = learning_rate_.take(), .gradient_norm = gradient_norm_.take(), .balance = balance_.take(),
          .diffusion = all(diffusion_), .noisiest = all(noisiest_), .causal = all(causal_)};
}

TrainingLogFile::TrainingLogFile(const std::string& path, std::vector<std::string> tasks, int64_t step, int64_t window, int64_t num_steps)
    : path_(path), log_{.tasks = std::move(tasks), .lines = {}, .evaluations = {}}, means_(log_.tasks.size()), window_(window), num_steps_(num_steps) {
  std::string kept;
  if (std::ifstream in(path); step > 0 && in) {
    std::string text;
    for (size_t number = 1; std::getline(in, text); ++number) {
      const Json object = parse_json(text);
      if (object.is_discarded()) break;  // torn by a kill; what follows comes again
      try {
        if (object.at("step").get<int64_t>() > step) continue;
        if (object.contains("task")) log_.evaluations.push_back(evaluation_of(object));
        else add(step_of(object, log_.tasks.size()));
        kept += text + "\n";
      } catch (const std::exception& error) {
        throw input_error("{}:{}: no line of this training's log ({})\nstart anew with another --out", path, number, error.what());
      }
    }
  }
  write_text_durably(path, kept);
  out_.open(path, std::ios::app);
  if (!out_) throw input_error("{}: cannot be written", path);
}

bool TrainingLogFile::add(const TrainingStep& step) {
  means_.add(step);
  seconds_ = step.seconds;
  const bool ends = step.step % window_ == 0 || step.step == num_steps_;
  if (ends) log_.lines.push_back(means_.take());
  return ends;
}

bool TrainingLogFile::append(const TrainingStep& step) {
  write(json_text(json_of(step)));
  return add(step);
}
void TrainingLogFile::append(const EvaluationLine& line) {
  write(json_text(json_of(line)));
  log_.evaluations.push_back(line);
}
void TrainingLogFile::write(const std::string& text) {
  if (!(out_ << text << "\n" << std::flush)) throw input_error("{}: cannot be written; is the disk full?\nmake room and start the same command again", path_);
}

void write_training_h5(const std::string& path, const TrainingLog& log, const std::string& settings) {
  H5Writer file(path);
  file.attribute("/", "schema", "canvaslab training 1");
  file.attribute("/", "settings", settings);
  file.attribute("/", "task_names", log.tasks);
  const auto column = [&](const std::string& name, const std::string& unit, const auto& pick) {
    std::vector<std::decay_t<decltype(pick(log.lines.front()))>> values;
    for (const auto& line : log.lines) values.push_back(pick(line));
    file.write("log/" + name, values);
    file.attribute("log/" + name, "unit", unit);
  };
  const auto by_task = [&](const std::string& name, const auto& pick) {
    std::vector<double> values;
    for (const auto& line : log.lines) values.insert(values.end(), pick(line).begin(), pick(line).end());
    file.write<double>("log/" + name, values, {log.lines.size(), log.tasks.size()});
    file.attribute("log/" + name, "unit", "nats per token");
    file.attribute("log/" + name, "columns", log.tasks);
  };
  file.group("log");
  column("step", "steps", [](const auto& l) { return l.step; });
  column("tokens", "tokens", [](const auto& l) { return l.tokens; });
  column("seconds", "s of processor time", [](const auto& l) { return l.seconds; });
  file.attribute("log/seconds", "volatile", int64_t{1});
  column("learning_rate", "per step", [](const auto& l) { return l.learning_rate; });
  column("gradient_norm", "nats per token", [](const auto& l) { return l.gradient_norm; });
  column("balance", "1 when experts are chosen evenly", [](const auto& l) { return l.balance; });
  by_task("diffusion", [](const auto& l) -> const std::vector<double>& { return l.diffusion; });
  by_task("noisiest", [](const auto& l) -> const std::vector<double>& { return l.noisiest; });
  by_task("causal", [](const auto& l) -> const std::vector<double>& { return l.causal; });
  file.group("evaluation");
  std::vector<int64_t> step, items;
  std::vector<double> accuracy, speed;
  std::vector<std::string> task, how;
  for (const auto& e : log.evaluations) {
    step.push_back(e.step), items.push_back(e.num_items), accuracy.push_back(e.accuracy), speed.push_back(e.tokens_per_forward), task.push_back(e.task), how.push_back(e.settings);
  }
  file.write("evaluation/step", step);
  file.write("evaluation/num_items", items);
  file.write("evaluation/accuracy", accuracy);
  file.write("evaluation/tokens_per_forward", speed);
  file.write_strings("evaluation/task", task);
  file.write_strings("evaluation/settings", how);
  for (const auto& [name, unit] : {std::pair{"step", "steps"}, {"num_items", "questions"}, {"accuracy", "share of questions"}, {"tokens_per_forward", "tokens per forward"}, {"task", "text"}, {"settings", "text"}})
    file.attribute(fmt::format("evaluation/{}", name), "unit", unit);
  file.finish();
}

TrainingLog read_training_h5(const std::string& path) {
  const H5Reader file(path);
  TrainingLog out;
  out.tasks = file.list_attribute("/", "task_names");
  const auto step = file.read<int64_t>("log/step"), tokens = file.read<int64_t>("log/tokens");
  const auto seconds = file.read<double>("log/seconds"), rate = file.read<double>("log/learning_rate"), norm = file.read<double>("log/gradient_norm"), balance = file.read<double>("log/balance");
  const auto diffusion = file.read<double>("log/diffusion"), noisiest = file.read<double>("log/noisiest"), causal = file.read<double>("log/causal");
  const size_t n = step.size(), T = out.tasks.size();
  for (const size_t size : {tokens.size(), seconds.size(), rate.size(), norm.size(), balance.size()})
    if (size != n) throw input_error("{}: columns of /log have {} and {} rows; the file is damaged", path, n, size);
  for (const size_t size : {diffusion.size(), noisiest.size(), causal.size()})
    if (size != n * T) throw input_error("{}: losses of /log have {} values for {} rows and {} tasks; the file is damaged", path, size, n, T);
  const auto row = [&](const std::vector<double>& values, size_t i) { return std::vector<double>(values.begin() + static_cast<ptrdiff_t>(i * T), values.begin() + static_cast<ptrdiff_t>((i + 1) * T)); };
  for (size_t i = 0; i < n; ++i)
    out.lines.push_back({.step = step[i], .tokens = tokens[i], .seconds = seconds[i], .learning_rate = rate[i], .gradient_norm = norm[i], .balance = balance[i], .diffusion = row(diffusion, i),
                         .noisiest = row(noisiest, i), .causal = row(causal, i)});
  const auto when = file.read<int64_t>("evaluation/step"), items = file.read<int64_t>("evaluation/num_items");
  const auto accuracy = file.read<double>("evaluation/accuracy"), speed = file.read<double>("evaluation/tokens_per_forward");
  const auto task = file.read_strings("evaluation/task"), how = file.read_strings("evaluation/settings");
  for (const size_t size : {items.size(), accuracy.size(), speed.size(), task.size(), how.size()})
    if (size != when.size()) throw input_error("{}: columns of /evaluation have {} and {} rows; the file is damaged", path, when.size(), size);
  for (size_t i = 0; i < when.size(); ++i)
    out.evaluations.push_back({.step = when[i], .task = task[i], .settings = how[i], .num_items = items[i], .accuracy = accuracy[i], .tokens_per_forward = speed[i]});
  return out;
}

}  // namespace canvaslab
