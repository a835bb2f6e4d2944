package gatehouse_test

import (
	"go/ast"
	"go/token"
	"strings"
)

// checkVariables refuses package variables that can change: state that every
// caller shares and none can see. What stays is what would be a constant if the
// language had such constants: sentinel errors, compiled expressions, embedded
// files, interface assertions, and tables that nothing in the package writes
// to. Only the syntax is looked at, so a change through an alias is not seen.
func checkVariables(p pkg, say sayer) {
	fixed := map[string]string{}
	for _, f := range p.files {
		if f.test || ast.IsGenerated(f.ast) {
			continue
		}
		for _, d := range f.ast.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				for i, name := range spec.Names {
					switch {
					case name.Name == "_" || embedded(decl, spec) || sentinel(spec, i):
					case literal(spec, i) && !name.IsExported():
						fixed[name.Name] = f.path
					default:
						say("%s: the package variable %s can change", f.path, name.Name)
					}
				}
			}
		}
	}
	for _, f := range p.files {
		for name := range written(f.ast) {
			if where, ok := fixed[name]; ok && !f.test {
				say("%s: the package variable %s of %s is written to", f.path, name, where)
			}
		}
	}
}

func embedded(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if doc == nil {
			continue
		}
		for _, line := range doc.List {
			if strings.HasPrefix(line.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// sentinel tells an error that is named as one, and a compiled expression.
func sentinel(spec *ast.ValueSpec, i int) bool {
	if i >= len(spec.Values) {
		return false
	}
	call, ok := spec.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	name := spec.Names[i].Name
	if strings.HasPrefix(name, "err") || strings.HasPrefix(name, "Err") {
		return true
	}
	fn, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := fn.X.(*ast.Ident)
	return ok && from.Name == "regexp" && fn.Sel.Name == "MustCompile"
}

// literal reports whether the value is spelt out: no call makes it, and no
// pointer leads to it.
func literal(spec *ast.ValueSpec, i int) bool {
	if i >= len(spec.Values) {
		return false
	}
	_, ok := spec.Values[i].(*ast.CompositeLit)
	return ok
}

// written is the names that f assigns to, or to a part of, or takes the address
// of, other than names of its functions' own.
func written(f *ast.File) map[string]bool {
	names := map[string]bool{}
	add := func(e ast.Expr) {
		id := root(e)
		if id == nil {
			return
		}
		if id.Obj != nil {
			if _, ours := id.Obj.Decl.(*ast.ValueSpec); !ours || f.Scope.Lookup(id.Name) != id.Obj {
				return
			}
		}
		names[id.Name] = true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				add(n.X)
			}
		case *ast.CallExpr:
			fn, ok := n.Fun.(*ast.Ident)
			if ok && len(n.Args) > 0 && (fn.Name == "delete" || fn.Name == "clear" || fn.Name == "copy") {
				add(n.Args[0])
			}
		}
		return true
	})
	return names
}

// root is the variable that an expression such as a.b[c] is a part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
