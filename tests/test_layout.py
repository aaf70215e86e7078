"""What import-linter does not look at."""

import grimp


def test_no_file_imports_the_face_of_its_own_folder() -> None:
    graph = grimp.build_graph("idle_md", cache_dir=None)
    for name in graph.modules:
        faces = graph.find_modules_directly_imported_by(name)
        assert not [face for face in faces if name.startswith(f"{face}.")], name
