// The program around every notebook.
#include "notebooks-cpp/notebook.h"

int main(int argc, char** argv) { return canvaslab::notebook::run({argv + 1, argv + argc}, canvaslab::notebook::cells); }
