package sensor

import "github.com/expr-lang/expr/ast"

// truth and the two kinds of number are conditions in a form that runs without
// allocating, which the machine of expr cannot: it boxes every number. They
// follow expr: whole numbers stay whole under + - and *, a quotient never is, and
// where one side is a fraction both are.
type (
	truth    func(*values) bool
	whole    func(*values) int
	fraction func(*values) float64
)

// number is of one kind: the other function is nil.
type number struct {
	whole    whole
	fraction fraction
}

// wide returns n as a fraction.
func (n number) wide() fraction {
	if n.fraction != nil {
		return n.fraction
	}
	return func(v *values) float64 { return float64(n.whole(v)) }
}

// truthOf returns nil for what only the machine of expr can compute.
func truthOf(node ast.Node) truth {
	switch n := node.(type) {
	case *ast.BoolNode:
		return func(*values) bool { return n.Value }
	case *ast.UnaryNode:
		if of := truthOf(n.Node); of != nil && (n.Operator == "not" || n.Operator == "!") {
			return func(v *values) bool { return !of(v) }
		}
	case *ast.ConditionalNode:
		if is, then, otherwise := truthOf(n.Cond), truthOf(n.Exp1), truthOf(n.Exp2); is != nil && then != nil && otherwise != nil {
			return func(v *values) bool {
				if is(v) {
					return then(v)
				}
				return otherwise(v)
			}
		}
	case *ast.BinaryNode:
		if both := connected(n); both != nil {
			return both
		}
		return compared(n)
	}
	return nil
}

// connected joins two truths.
func connected(n *ast.BinaryNode) truth {
	left, right := truthOf(n.Left), truthOf(n.Right)
	if left == nil || right == nil {
		return nil
	}
	switch n.Operator {
	case "and", "&&":
		return func(v *values) bool { return left(v) && right(v) }
	case "or", "||":
		return func(v *values) bool { return left(v) || right(v) }
	case "==":
		return func(v *values) bool { return left(v) == right(v) }
	case "!=":
		return func(v *values) bool { return left(v) != right(v) }
	}
	return nil
}

func compared(n *ast.BinaryNode) truth {
	left, ok := numberOf(n.Left)
	right, ok2 := numberOf(n.Right)
	switch {
	case !ok || !ok2:
		return nil
	case left.whole != nil && right.whole != nil:
		return comparison(n.Operator, left.whole, right.whole)
	}
	return comparison(n.Operator, left.wide(), right.wide())
}

func comparison[N int | float64, F ~func(*values) N](operator string, a, b F) truth {
	switch operator {
	case "<":
		return func(v *values) bool { return a(v) < b(v) }
	case "<=":
		return func(v *values) bool { return a(v) <= b(v) }
	case ">":
		return func(v *values) bool { return a(v) > b(v) }
	case ">=":
		return func(v *values) bool { return a(v) >= b(v) }
	case "==":
		return func(v *values) bool { return a(v) == b(v) }
	case "!=":
		return func(v *values) bool { return a(v) != b(v) }
	}
	return nil
}

func numberOf(node ast.Node) (number, bool) {
	switch n := node.(type) {
	case *ast.IntegerNode:
		return number{whole: func(*values) int { return n.Value }}, true
	case *ast.FloatNode:
		return number{fraction: func(*values) float64 { return n.Value }}, true
	case *ast.IdentifierNode:
		for m, name := range metricNames {
			if name == n.Value {
				return number{whole: func(v *values) int { return v.of(metric(m)) }}, true
			}
		}
	case *ast.UnaryNode:
		return signed(n)
	case *ast.BinaryNode:
		return calculated(n)
	}
	return number{}, false
}

func signed(n *ast.UnaryNode) (number, bool) {
	of, ok := numberOf(n.Node)
	switch {
	case !ok || n.Operator != "-" && n.Operator != "+":
		return number{}, false
	case n.Operator == "+":
		return of, true
	case of.whole != nil:
		return number{whole: func(v *values) int { return -of.whole(v) }}, true
	}
	return number{fraction: func(v *values) float64 { return -of.fraction(v) }}, true
}

// calculated leaves % to the machine, which turns a division by zero into an
// error.
func calculated(n *ast.BinaryNode) (number, bool) {
	left, ok := numberOf(n.Left)
	right, ok2 := numberOf(n.Right)
	if !ok || !ok2 {
		return number{}, false
	}
	if left.whole != nil && right.whole != nil && n.Operator != "/" {
		f := arithmetic(n.Operator, left.whole, right.whole)
		return number{whole: f}, f != nil
	}
	a, b := left.wide(), right.wide()
	if n.Operator == "/" {
		return number{fraction: func(v *values) float64 { return a(v) / b(v) }}, true
	}
	f := arithmetic(n.Operator, a, b)
	return number{fraction: f}, f != nil
}

func arithmetic[N int | float64, F ~func(*values) N](operator string, a, b F) func(*values) N {
	switch operator {
	case "+":
		return func(v *values) N { return a(v) + b(v) }
	case "-":
		return func(v *values) N { return a(v) - b(v) }
	case "*":
		return func(v *values) N { return a(v) * b(v) }
	}
	return nil
}
