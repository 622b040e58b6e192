"""Small changes of Python source, each of which a test should notice: the mutants of `mutants.py`.

Annotations, docstrings and other texts are left as they are. A change is one of the text, so that the rest of the file
stays what it was.
"""

from __future__ import annotations

import ast
import inspect
import types
from dataclasses import dataclass
from functools import cached_property

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
PAIRS = ("min max", "minimum maximum", "argmin argmax", "any all", "floor ceil", "zeros ones", "amin amax")
SWAPS = {name: other for pair in PAIRS for name, other in zip(pair.split(), reversed(pair.split()), strict=True)}
AXES = {"axis", "dim"}
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
#: Statements that are removed; an assignment to a name would only end in a NameError.
REMOVED = (ast.Raise, ast.AugAssign, ast.Continue, ast.Break, ast.Delete)


@dataclass(frozen=True)
class Mutant:
    """One change: bytes `start` to `end` of the file become `after`.

    `line` is that of the change; `statement` are the first and the last line of what surrounds it: a statement (without
    the body of a block); of the signature and the decorators of a function, the whole function; at the top, no lines.
    """

    file: str
    line: int
    statement: tuple[int, int]
    operator: str
    start: int
    end: int
    before: str
    after: str

    @cached_property
    def key(self) -> tuple[str, ...]:
        return self.file, str(self.line), self.operator, self.before, self.after

    def of(self, source: bytes) -> bytes:
        """The mutated source."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants(file: str, source: bytes) -> list[Mutant]:
    """Every mutant of a file, in the order of its text; each is valid Python, and no two are the same."""
    walk = _Walk(file, source)
    walk.visit(ast.parse(source))
    return sorted({each.key: each for each in walk.mutants}.values(), key=lambda each: (each.start, each.after))


def changed_functions(before: bytes, after: bytes, file: str) -> list[tuple[types.CodeType, types.CodeType]] | None:
    """Code of the functions that a mutant changes, before and after; None where it changes what an import does."""
    old, new = (compile(source, file, "exec", dont_inherit=True) for source in (before, after))
    pairs: list[tuple[types.CodeType, types.CodeType]] = []
    return pairs if _compare(old, new, pairs) else None


def _compare(old: types.CodeType, new: types.CodeType, pairs: list) -> bool:
    """Whether module and class bodies do the same; functions that differ are added to those found."""
    is_function = bool(old.co_flags & inspect.CO_OPTIMIZED)
    inner = [[each for each in code.co_consts if isinstance(each, types.CodeType)] for code in (old, new)]
    if _own(old) != _own(new) or [each.co_name for each in inner[0]] != [each.co_name for each in inner[1]]:
        pairs.append((old, new))
        return is_function
    for one, other in zip(*inner, strict=True):
        count = len(pairs)
        if not _compare(one, other, pairs):
            return False
        differs = len(pairs) > count
        if differs and is_function:
            pairs.append((old, new))
        elif differs and one.co_name in COMPREHENSIONS:
            return False
    return True


def _own(code: types.CodeType) -> tuple:
    constants = [None if isinstance(each, types.CodeType) else (type(each), each) for each in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants


class _Walk(ast.NodeVisitor):
    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source, self.mutants = file, source, []
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.statement = (0, 0)
        self.inside = False

    def visit(self, node: ast.AST) -> None:
        before = self.statement
        if isinstance(node, ast.stmt) and self.inside:
            body = getattr(node, "body", None)
            self.statement = (node.lineno, max(node.lineno, body[0].lineno - 1) if body else node.end_lineno)
        for operator, replacement in _changes(node):
            self._add(node, operator, replacement)
        if isinstance(node, (ast.If, ast.IfExp)) and isinstance(node.test, (ast.Name, ast.Attribute, ast.Call)):
            self._add(node.test, "condition", ast.UnaryOp(ast.Not(), node.test))
        super().visit(node)
        self.statement = before

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        before = self.inside
        self.statement = (node.body[0].lineno, node.end_lineno)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            for replacement in _numbers(default) if default else ():
                self._add(default, "default", replacement)
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.inside = True
        for statement in node.body[1:] if _is_text(node.body[0]) else node.body:
            self.visit(statement)
        self.inside = before

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Nothing in a formatted text is changed: its parts have no positions of their own before Python 3.12."""

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg in AXES and isinstance(node.value, (ast.Constant, ast.UnaryOp)):
            for replacement in _axes(node.value):
                self._add(node.value, "axis", replacement)
        else:
            self.generic_visit(node)

    def _add(self, node: ast.AST, operator: str, replacement: ast.AST) -> None:
        start = self.starts[node.lineno - 1] + node.col_offset
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        after = ast.unparse(replacement)
        if isinstance(node, ast.expr) and not isinstance(replacement, (ast.Constant, ast.Name, ast.Attribute)):
            after = f"({after})"
        before = " ".join(self.source[start:end].decode().split())
        mutant = Mutant(self.file, node.lineno, self.statement, operator, start, end, before, after)
        try:
            compile(mutant.of(self.source), self.file, "exec", dont_inherit=True)
        except SyntaxError:
            return
        self.mutants.append(mutant)


def _changes(node: ast.AST):
    """Operators and what they make of a node."""
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                    yield "comparison", ast.Compare(node.left, ops, node.comparators)
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC and not _has_text(left, right):
            yield "arithmetic", ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield "arithmetic", operand
        case ast.UnaryOp(ast.Not(), operand):
            yield "not", operand
        case ast.BoolOp(operator, values):
            yield "boolean", ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.Constant():
            for replacement in _numbers(node):
                yield "constant", replacement
        case ast.Name(name) if name in SWAPS:
            yield "swap", ast.Name(SWAPS[name])
        case ast.Attribute(value, name) if name in SWAPS:
            yield "swap", ast.Attribute(value, SWAPS[name])
        case ast.Return(value) if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", ast.Return(ast.Constant(None))
        case ast.Expr(ast.Call()):
            yield "statement", ast.Pass()
        case ast.Assign([ast.Subscript() | ast.Attribute()]):
            yield "statement", ast.Pass()
    if isinstance(node, REMOVED):
        yield "statement", ast.Pass()


def _numbers(node: ast.expr):
    match node:
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)


def _axes(node: ast.expr):
    value = ast.literal_eval(node)
    if isinstance(value, int):
        yield ast.Constant(1 if value == 0 else 0)
    yield ast.Constant(None)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _has_text(*nodes: ast.expr) -> bool:
    return any(isinstance(node, ast.JoinedStr) or _is_text(ast.Expr(node)) for node in nodes)
