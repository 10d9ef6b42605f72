"""Compiles modules into a Policy: the stages of compilation, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from watchkey.rego.ast import Expr, Module, Rule, Term, Unify, Var
from watchkey.rego.builtins import Builtin, registered
from watchkey.rego.checks import FunctionChecks, import_problems, root_problems, statements_of
from watchkey.rego.codegen import all_expressions, is_pattern
from watchkey.rego.cursor import Dialect
from watchkey.rego.errors import RegoError, RegoErrors
from watchkey.rego.parse_modules import parse_module
from watchkey.rego.policy import Policy
from watchkey.rego.program import Program, branch_terms
from watchkey.rego.resolve import ResolvedRule, Resolver, dotted
from watchkey.rego.runtime import State
from watchkey.rego.safety import Safety, direct_vars
from watchkey.rego.typecheck import check_types
from watchkey.rego.types import ANY, Type
from watchkey.rego.typing import from_schema
from watchkey.rego.values import UNDEFINED, from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFunction:
    """A function that the host supplies to policies.

    `function` is called with the evaluation's host context and the frozen arguments; it returns a JSON or Rego value,
    ``UNDEFINED`` for no answer, or raises BuiltinError. `args` and `result` are its types; they may be left out for a
    built-in that OPA declares. Within one evaluation the same call is made once.
    """

    function: Callable[..., Any]
    args: tuple[Type, ...] | None = None
    result: Type = ANY


def compile_modules(
    modules: Mapping[str, str],
    *,
    dialect: Dialect | Mapping[str, Dialect] = Dialect.V1,
    strict: bool = False,
    host_functions: Mapping[str, HostFunction] | None = None,
    input_schema: Mapping[str, Any] | None = None,
    seeded: bool = False,
) -> Policy:
    """Compile modules, given by file name, into a Policy.

    `dialect` is that of all files, or of each by name (v1 where a name is missing). `strict` adds the checks of
    ``opa check --strict``. `host_functions` are functions by name that the policy may call. `input_schema`: a JSON
    Schema of the input; what it does not have, and comparisons that it rules out, become errors. `seeded`: evaluations
    will bring a seed, so that the random built-ins exist. Raises RegoErrors with everything that was found.
    """
    try:
        return _Compiler(_builtins(host_functions or {}, seeded=seeded), strict=strict).compile(
            modules, dialect, input_schema
        )
    except RecursionError:
        error = RegoError(code="rego_compile_error", message="a policy is nested too deeply")
        raise RegoErrors([error]) from None


def _builtins(hosts: Mapping[str, HostFunction], *, seeded: bool) -> dict[str, Builtin]:
    known = registered()
    usable = {
        name: each for name, each in known.items() if each.function is not None and (seeded or not each.needs_seed)
    }
    for name, host in hosts.items():
        usable[name] = _host_builtin(name, host, known.get(name))
    return usable


def _host_builtin(name: str, host: HostFunction, declared: Builtin | None) -> Builtin:
    args = host.args if host.args is not None else declared.args if declared is not None else None
    if args is None:
        message = f"the host function {name} needs the types of its arguments"
        raise ValueError(message)
    result = host.result if host.result is not ANY or declared is None else declared.result

    def call(st: State, *values: Any) -> Any:
        st.spend(1)
        answer = host.function(st.host, *values)
        return answer if answer is UNDEFINED else from_json(answer)

    return Builtin(name=name, args=args, result=result, function=host.function, deterministic=False, call=call)


class _Compiler:
    """The stages of compilation, in order."""

    def __init__(self, builtins: dict[str, Builtin], *, strict: bool) -> None:
        self.builtins = builtins
        self.strict = strict
        self.errors: list[RegoError] = []
        self.deferred: list[RegoError] = []
        self.program = Program()
        self.rules: list[ResolvedRule] = []

    def compile(
        self,
        sources: Mapping[str, str],
        dialect: Dialect | Mapping[str, Dialect],
        input_schema: Mapping[str, Any] | None,
    ) -> Policy:
        """Run every stage; stops after the first one with errors."""
        modules = self._parse(sources, dialect)
        self._stop()
        self._resolve(modules)
        self._stop()
        self.program.check_conflicts()
        self.errors.extend(self.program.errors)
        self._stop()
        depths = self.program.check_recursion()
        self.errors.extend(self.program.errors)
        self._check_functions()
        self._order()
        self._stop()
        input_type = ANY if input_schema is None else from_schema(input_schema)
        self.errors.extend(check_types(self.program, self.builtins, input_type, depths))
        self._stop(last=True)
        self.program.assign_slots()
        return Policy(self.program, self.rules, self.builtins, depths, modules, strict=self.strict)

    def _stop(self, *, last: bool = False) -> None:
        """End with all errors so far, if there are any; those that hinder no stage wait for the last."""
        if self.errors or (last and self.deferred):
            unique = {(error.code, error.message, error.location): error for error in (*self.errors, *self.deferred)}
            ordered = sorted(unique.values(), key=lambda each: (each.file, each.line, each.column))
            raise RegoErrors(ordered)

    def _parse(self, sources: Mapping[str, str], dialect: Dialect | Mapping[str, Dialect]) -> dict[str, Module]:
        modules: dict[str, Module] = {}
        for name, text in sources.items():
            version = dialect.get(name, Dialect.V1) if isinstance(dialect, Mapping) else dialect
            try:
                modules[name] = parse_module(name, text, str(version))
            except RegoErrors as problem:
                self.errors.extend(problem.errors)
        return modules

    def _resolve(self, modules: dict[str, Module]) -> None:
        packages: dict[tuple[str, ...], set[str]] = {}
        for module in modules.values():
            packages.setdefault(tuple(module.package), set()).update(rule.name for rule in module.rules)
        known = frozenset(self.builtins)
        for module in modules.values():
            package = tuple(module.package)
            names = {name: (*package, name) for name in packages[package]}
            names.update({each.name: tuple(each.path) for each in module.imports})
            resolver = Resolver(module.source, names, known, strict=self.strict, dialect=module.dialect)
            self.program.add_package(package)
            for rule in module.rules:
                self._no_call(rule, module)
                resolved = _lift_arguments(resolver.rule(rule, module))
                self.rules.append(resolved)
                self.program.add(resolved)
            self.errors.extend(resolver.errors)
            self.deferred.extend(resolver.deferred)
            duplicates, unused = import_problems(module, resolver.used_globals, strict=self.strict)
            self.errors.extend(duplicates)
            self.deferred.extend(unused)
            self.errors.extend(root_problems(module, strict=self.strict))

    def _no_call(self, rule: Rule, module: Module) -> None:
        """A call of a built-in where a rule has to stand would declare a function of its name."""
        if rule.args is None or rule.has_body or rule.has_value:
            return
        parts = [part.name if isinstance(part, Var) else getattr(part, "value", None) for part in rule.path]
        if dotted(parts) in self.builtins:
            message = "rule name conflicts with built-in function"
            self.errors.append(module.source.error("rego_parse_error", message, rule.at))

    def _check_functions(self) -> None:
        for rule in self.rules:
            checks = FunctionChecks(rule.source, self.program, self.builtins, strict=self.strict or self._is_v1(rule))
            terms = _rule_terms(rule)
            exprs = list(all_expressions(rule))
            checks.calls(terms, statements_of(exprs))
            checks.modifiers(exprs)
            self.errors.extend(checks.errors)

    @staticmethod
    def _is_v1(rule: ResolvedRule) -> bool:
        return rule.module is not None and rule.module.dialect == "v1"

    def _order(self) -> None:
        for rule in self.rules:
            checks = FunctionChecks(rule.source, self.program, self.builtins, strict=False)
            safety = Safety(rule.source, checks.arity)
            bound = direct_vars(rule.args or [])
            for index, branch in enumerate(rule.branches):
                after = [branch.value] if branch.value is not None else []
                if not index:
                    after = [*rule.dynamic, *([rule.key] if rule.key is not None else []), *after]
                branch.body = safety.order(branch.body, bound, bound, after)
            self.errors.extend(safety.errors)


def _lift_arguments(rule: ResolvedRule) -> ResolvedRule:
    """Arguments that have to be evaluated become variables, compared in each body."""
    for index, arg in enumerate(rule.args or []):
        if rule.args is None or is_pattern(arg):
            continue
        holder = Var(f"arg#{index}", arg.at, "_arg")
        rule.args[index] = holder
        for branch in rule.branches:
            branch.body.append(Expr(Unify(holder, arg), arg.at, arg.at))
    return rule


def _rule_terms(rule: ResolvedRule) -> list[Term]:
    terms: list[Term] = [*(rule.args or []), *rule.dynamic]
    if rule.key is not None:
        terms.append(rule.key)
    for branch in rule.branches:
        terms.extend(branch_terms(branch))
    return terms
