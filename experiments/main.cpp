#include <fmt/format.h>
int main() { fmt::print("canvaslab\n"); }
