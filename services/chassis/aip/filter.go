package aip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.einride.tech/aip/filtering"
	"go.einride.tech/aip/ordering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"cairn.care/services/chassis/fault"
)

const (
	maxFilter = 2048 // bytes
	maxTerms  = 50
)

// Field says how a filter field reads: its column and what its values are.
type Field struct {
	column  string
	list    bool // the column is an array: only ":" (has) applies
	ordered bool // "<" and ">" apply
	want    string
	parse   func(string) (any, error)
}

// Fields are the fields that a List's filter may name, by the name the caller writes.
type Fields map[string]Field

// Text is a text column; "=" and "!=" compare, ":" finds a part.
func Text(column string) Field {
	return Field{column: column, want: "text", parse: func(s string) (any, error) { return s, nil }}
}

// TextList is a text[] column; ":" asks whether it holds the value.
func TextList(column string) Field {
	f := Text(column)
	f.list = true
	return f
}

// Instant is a timestamptz column; values are RFC 3339.
func Instant(column string) Field {
	return Field{column: column, ordered: true, want: `an RFC 3339 time such as "2026-01-31T00:00:00Z"`, parse: func(s string) (any, error) {
		return time.Parse(time.RFC3339Nano, s)
	}}
}

// Date is a date column; values are calendar dates.
func Date(column string) Field {
	return Field{column: column, ordered: true, want: `a date such as "2026-01-31"`, parse: func(s string) (any, error) { return time.Parse(time.DateOnly, s) }}
}

// Int is an integer column.
func Int(column string) Field {
	return Field{column: column, ordered: true, want: "a whole number", parse: func(s string) (any, error) { return strconv.ParseInt(s, 10, 64) }}
}

// Bool is a boolean column; values are true and false.
func Bool(column string) Field {
	return Field{column: column, want: "true or false", parse: func(s string) (any, error) { return strconv.ParseBool(s) }}
}

// Enum is an integer column that holds an enum's number; values are the enum's names.
func Enum(column string, values map[string]int32) Field {
	return Field{column: column, want: "one of " + enumNames(values), parse: func(s string) (any, error) {
		v, ok := values[s]
		if !ok {
			return nil, fmt.Errorf("unknown value")
		}
		return v, nil
	}}
}

// EnumText is a text column that holds an enum value's name.
func EnumText(column string, values map[string]int32) Field {
	f := Enum(column, values)
	f.parse = func(s string) (any, error) {
		if _, ok := values[s]; !ok {
			return nil, fmt.Errorf("unknown value")
		}
		return s, nil
	}
	return f
}

// Ref is a uuid column that holds a reference; values are resource names of the collection.
func Ref(column, collection string) Field {
	return Field{column: column, want: "a name of the form " + collection + "/{uuid}", parse: func(s string) (any, error) {
		return ParseName("filter", collection, s)
	}}
}

func enumNames(values map[string]int32) string {
	names := make([]string, 0, len(values))
	for name, n := range values {
		if n != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Filter turns an AIP-160 filter into a SQL condition and adds its values to args under
// names that start with "filter_". The empty filter is "true".
func Filter(filter string, fields Fields, args pgx.NamedArgs) (string, error) {
	if strings.TrimSpace(filter) == "" {
		return "true", nil
	}
	if len(filter) > maxFilter {
		return "", fault.Invalid(fault.Field("filter", "longer than %d bytes", maxFilter))
	}
	if strings.ContainsRune(filter, 0) {
		return "", fault.Invalid(fault.Field("filter", "must not hold the character NUL"))
	}
	if depth := strings.Count(filter, "("); depth > maxTerms {
		return "", fault.Invalid(fault.Field("filter", "more than %d parentheses", maxTerms))
	}
	var p filtering.Parser
	p.Init(filter)
	parsed, err := p.Parse()
	if err != nil {
		return "", fault.Invalid(fault.Field("filter", "cannot be read (AIP-160): %v", err))
	}
	t := translator{fields: fields, args: args}
	sql, err := t.condition(parsed.GetExpr())
	if err != nil {
		return "", fault.Invalid(fault.Field("filter", "%v", err))
	}
	return sql, nil
}

type translator struct {
	fields Fields
	args   pgx.NamedArgs
	n      int
}

func (t *translator) condition(e *expr.Expr) (string, error) {
	call := e.GetCallExpr()
	if call == nil {
		return "", fmt.Errorf("%q stands alone: write field = value", clip(path(e)))
	}
	switch fn, a := call.GetFunction(), call.GetArgs(); fn {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd, filtering.FunctionOr:
		op := map[bool]string{true: " OR ", false: " AND "}[fn == filtering.FunctionOr]
		parts := make([]string, len(a))
		for i, x := range a {
			s, err := t.condition(x)
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return "(" + strings.Join(parts, op) + ")", nil
	case filtering.FunctionNot:
		s, err := t.condition(a[0])
		return "(NOT " + s + ")", err
	case "=", "!=", "<", "<=", ">", ">=", ":":
		return t.comparison(fn, a[0], a[1])
	default:
		return "", fmt.Errorf("%s() is not known here", fn)
	}
}

func (t *translator) comparison(op string, lhs, rhs *expr.Expr) (string, error) {
	name := path(lhs)
	f, ok := t.fields[name]
	if !ok {
		names := make([]string, 0, len(t.fields))
		for n := range t.fields {
			names = append(names, n)
		}
		slices.Sort(names)
		return "", fmt.Errorf("%q cannot be filtered on: use %s", clip(name), strings.Join(names, ", "))
	}
	value, err := literal(rhs)
	if err != nil {
		return "", err
	}
	v, err := f.parse(value)
	if err != nil {
		return "", fmt.Errorf("%s: %q is not %s", name, clip(value), f.want)
	}
	if t.n++; t.n > maxTerms {
		return "", fmt.Errorf("more than %d comparisons", maxTerms)
	}
	arg := "filter_" + strconv.Itoa(t.n)
	t.args[arg] = v
	switch {
	case f.list && op != ":":
		return "", fmt.Errorf("%s holds several values: use %s:value", name, name)
	case f.list:
		return "(@" + arg + " = ANY(" + f.column + "))", nil
	case op == ":" && f.want == "text":
		t.args[arg] = "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(value) + "%"
		return "(" + f.column + " ILIKE @" + arg + ")", nil
	case op == ":", op == "=":
		return "(" + f.column + " = @" + arg + ")", nil
	case op == "!=":
		return "(" + f.column + " IS DISTINCT FROM @" + arg + ")", nil
	case !f.ordered:
		return "", fmt.Errorf("%s %s: only = and != apply to %s", name, op, name)
	}
	return "(" + f.column + " " + op + " @" + arg + ")", nil
}

// path returns the dotted field that an expression names.
func path(e *expr.Expr) string {
	if s := e.GetSelectExpr(); s != nil {
		return path(s.GetOperand()) + "." + s.GetField()
	}
	if id := e.GetIdentExpr(); id != nil {
		return id.GetName()
	}
	return e.GetConstExpr().GetStringValue()
}

func literal(e *expr.Expr) (string, error) {
	if c := e.GetConstExpr(); c != nil {
		switch k := c.GetConstantKind().(type) {
		case *expr.Constant_StringValue:
			return k.StringValue, nil
		case *expr.Constant_Int64Value:
			return strconv.FormatInt(k.Int64Value, 10), nil
		case *expr.Constant_DoubleValue:
			return strconv.FormatFloat(k.DoubleValue, 'g', -1, 64), nil
		case *expr.Constant_BoolValue:
			return strconv.FormatBool(k.BoolValue), nil
		}
	}
	if e.GetIdentExpr() != nil || e.GetSelectExpr() != nil {
		return path(e), nil
	}
	if c := e.GetCallExpr(); c != nil && c.GetFunction() == filtering.FunctionTimestamp && len(c.GetArgs()) == 1 {
		return literal(c.GetArgs()[0])
	}
	return "", fmt.Errorf("the right side of a comparison must be a value")
}

// Order is one key of an order_by.
type Order struct {
	Field  string
	Column string
	Desc   bool
}

// OrderBy reads an order_by (AIP-132) over the fields; the empty one is nil.
func OrderBy(orderBy string, fields Fields) ([]Order, error) {
	if len(orderBy) > maxFilter {
		return nil, fault.Invalid(fault.Field("order_by", "longer than %d bytes", maxFilter))
	}
	var parsed ordering.OrderBy
	if err := parsed.UnmarshalString(orderBy); err != nil {
		return nil, fault.Invalid(fault.Field("order_by", "%v", err))
	}
	var orders []Order
	for _, f := range parsed.Fields {
		field, ok := fields[f.Path]
		if !ok || field.list {
			return nil, fault.Invalid(fault.Field("order_by", "%q cannot be ordered by", clip(f.Path)))
		}
		orders = append(orders, Order{Field: f.Path, Column: field.column, Desc: f.Desc})
	}
	return orders, nil
}
