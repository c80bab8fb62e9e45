package state

// DefaultProject is the project of all there is: there is no way yet to make another.
const DefaultProject = "default"

// Key is what names that are unique within a project are found by. In the default project it is the name: the rows of releases without
// projects stand where they stood. A name has no slash.
func Key(project, name string) string {
	if project == "" || project == DefaultProject || name == "" {
		return name
	}
	return project + "/" + name
}
