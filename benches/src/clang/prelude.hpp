// What all units begin with, after ember's own: headers as a language on C++ has them.
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <variant>
#include <vector>
