// The oracle's own gradients against central differences of its forward pass.
#include "../oracle.h"

using namespace abawkit;
using namespace abawkit::oracle;

namespace {

double loss(const Case& config, const Inputs& in) {
  const Results r = reference(config, in, config.given);
  double sum = 0;
  for (std::size_t i = 0; i < r.embedding.size(); ++i) sum += r.embedding[i] * in.grad_embedding[i];
  for (std::size_t i = 0; i < r.rows.size() && config.grad_rows; ++i) sum += r.rows[i] * in.grad_rows[i];
  for (std::size_t i = 0; i < r.columns.size() && config.grad_columns; ++i) sum += r.columns[i] * in.grad_columns[i];
  return sum;
}

int check_gradients(const char* name, const Case& config) {
  Inputs in = make_inputs(config);
  const Results r = reference(config, in, config.given);
  int failures = 0;
  const auto one = [&](const char* what, Values& values, const Values& gradient) {
    double error = 0, magnitude = 1e-2;
    for (const double value : gradient) magnitude = std::max(magnitude, std::fabs(value));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double before = values[i], step = 1e-6;
      values[i] = before + step;
      const double above = loss(config, in);
      values[i] = before - step;
      const double below = loss(config, in);
      values[i] = before;
      error = std::max(error, std::fabs((above - below) / (2 * step) - gradient[i]) / magnitude);
    }
    if (error < 1e-6) return;
    ++failures;
    std::printf("%s: %s: relative error %.3g\n", name, what, error);
  };
  one("features", in.features, r.grad_features);
  for (int i = 0; i < parameter_count; ++i) one(parameter_name(i), in.parameters[i], r.gradients[i]);
  return failures;
}

}  // namespace

int main() {
  Case config;
  config.type = Type::float64;
  config.sizes = {5, 3, 2, 3, 3, 4};
  int failures = check_gradients("batch's statistics", config);
  config.given = true;
  config.grad_rows = false;
  failures += check_gradients("given statistics", config);
  if (failures == 0) std::printf("oracle: ok\n");
  return failures != 0;
}
