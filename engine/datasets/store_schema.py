"""labels.sqlite: its tables, connections to it, and the way from version 1 to version 2."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import uuid
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path

from engine.datasets import store_rows as rows
from engine.datasets.store_classes import Classes

VERSION = 2
BACKUP = "labels.v1.sqlite"
BUSY_SECONDS = 60

# A class keeps its row and its id here for ever; `place` is what everyone else calls its id (0..C-1), NULL once it is gone. `heir` is the class
# that it was merged into, `ground` the class that its pixels fell to when it was deleted. So no edit of classes rewrites labels.
# `content` says which classes an image shows: objects (1 for tags and masks), and pixels where there is a mask.
FACTS = {
    "meta": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "classes": "id INTEGER PRIMARY KEY, name TEXT NOT NULL, place INTEGER, heir INTEGER, ground INTEGER",
    "images": """id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT NOT NULL UNIQUE, name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
        split TEXT NOT NULL, grp TEXT, state TEXT NOT NULL, revision INTEGER NOT NULL DEFAULT 0, objects INTEGER NOT NULL DEFAULT 0,
        trashed TEXT, kind TEXT, extra BLOB""",
    "shapes": """id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, class_id INTEGER NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
        x2 REAL NOT NULL, y2 REAL NOT NULL, score REAL, crowd INTEGER NOT NULL DEFAULT 0, outline TEXT""",
    "content": "class_id INTEGER NOT NULL, image_id INTEGER NOT NULL, objects INTEGER NOT NULL, pixels INTEGER, PRIMARY KEY (class_id, image_id)",
    "problems": "id INTEGER PRIMARY KEY, code TEXT NOT NULL, severity TEXT NOT NULL, place TEXT NOT NULL, details TEXT NOT NULL",
}
CACHES = {
    "history": "id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, before BLOB NOT NULL",
    "image_problems": "image_id INTEGER NOT NULL, code TEXT NOT NULL, severity TEXT NOT NULL, PRIMARY KEY (image_id, code)",
    "fingerprints": "image_id INTEGER PRIMARY KEY, digest BLOB, look BLOB, state TEXT, cluster INTEGER",
}
# The journal: what an edit changed, as it was before. `after` is the revision that the edit gave the image; undo asks for exactly that one.
# `undone`: 0 = may be undone, 1 = has been, 2 = can no longer be.
JOURNAL = {
    "edits": """id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, action TEXT NOT NULL, details TEXT NOT NULL,
        images INTEGER NOT NULL DEFAULT 0, undone INTEGER NOT NULL DEFAULT 0""",
    "undo_images": """edit_id INTEGER NOT NULL, image_id INTEGER NOT NULL, after INTEGER, split TEXT, grp TEXT, state TEXT, revision INTEGER,
        objects INTEGER, trashed TEXT, whole INTEGER NOT NULL DEFAULT 0, kind TEXT, extra BLOB""",
    "undo_shapes": "edit_id INTEGER NOT NULL, " + FACTS["shapes"].replace("PRIMARY KEY", "NOT NULL", 1),
    "undo_content": "edit_id INTEGER NOT NULL, class_id INTEGER NOT NULL, image_id INTEGER NOT NULL, objects INTEGER NOT NULL, pixels INTEGER",
    "undo_classes": """edit_id INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT, place INTEGER, heir INTEGER, ground INTEGER,
        name_after TEXT, gone_after INTEGER""",
}
WITHOUT_ROWID = frozenset(("meta", "content", "image_problems"))
INDEXES = (
    # All that a page filters and sorts by, in the order of ids (so the other tables are asked in their own order) and in that of names.
    "CREATE INDEX images_browse ON images (trashed, id, split, state, objects, width, height, grp, name)",
    "CREATE INDEX images_name ON images (trashed, name COLLATE NOCASE, id, split, state, objects, width, height, grp)",
    "CREATE INDEX shapes_image ON shapes (image_id)",
    "CREATE INDEX content_image ON content (image_id, class_id, objects)",
    "CREATE INDEX image_problems_code ON image_problems (code, image_id)",
    "CREATE INDEX history_image ON history (image_id)",
    "CREATE UNIQUE INDEX undo_images_edit ON undo_images (edit_id, image_id)",
    "CREATE INDEX undo_images_image ON undo_images (image_id)",
    "CREATE INDEX undo_shapes_edit ON undo_shapes (edit_id)",
    "CREATE INDEX undo_content_edit ON undo_content (edit_id)",
)


def writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def connect(path: Path) -> sqlite3.Connection:
    """A connection without implicit transactions; one that only reads where the folder cannot be written."""
    if writable(path.parent):
        connection = sqlite3.connect(path.absolute().as_uri(), timeout=BUSY_SECONDS, uri=True, isolation_level=None)
    else:  # the write-ahead log needs a file of its own beside the database
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -64000")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def version_of(path: Path) -> int:
    with closing(connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def create_tables(connection: sqlite3.Connection, tables: dict[str, str], schema: str = "main") -> None:
    for name, columns in tables.items():
        connection.execute(f"CREATE TABLE {schema}.{name} ({columns}){' WITHOUT ROWID' if name in WITHOUT_ROWID else ''}")


def columns_of(table: str) -> str:
    """The names of a table's columns, with commas between."""
    columns = FACTS[table].partition(", PRIMARY KEY (")[0]
    return ", ".join(column.split()[0] for column in columns.split(","))


def create_all(connection: sqlite3.Connection) -> None:
    """All tables of this version without their indexes: those come once the tables are full."""
    create_tables(connection, {**FACTS, **CACHES, **JOURNAL})
    connection.execute(f"PRAGMA user_version = {VERSION}")


def create_indexes(connection: sqlite3.Connection) -> None:
    for statement in INDEXES:
        connection.execute(statement)


# ---- version 1

def migrate(path: Path) -> None:
    """Brings a version-1 file to this version in one transaction, after a copy has been put beside it. Does nothing when somebody was faster."""
    with closing(connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
                _keep_copy(path)
                _to_version_2(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def migrated_copy(path: Path) -> Path:
    """A private copy of a version-1 file, brought to this version; for folders that may only be read. Goes with the process."""
    stat = path.stat()
    return Path(_private_copy(str(path.absolute()), stat.st_mtime_ns, stat.st_size).name) / path.name


@lru_cache(8)
def _private_copy(path: str, modified: int, size: int) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="lightbox-")
    target = Path(folder.name) / Path(path).name
    copy(Path(path), target)
    with closing(connect(target)) as connection:
        connection.execute("BEGIN")
        _to_version_2(connection)
        connection.execute("COMMIT")
    return folder


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a database, even while others write."""
    with closing(connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _keep_copy(path: Path) -> None:
    backup = path.parent / BACKUP
    if backup.exists():
        return
    part = path.parent / f".{uuid.uuid4().hex}.sqlite"
    try:
        copy(path, part)
        part.replace(backup)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _to_version_2(connection: sqlite3.Connection) -> None:
    for table in ("classes", "images"):
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for index in ("images_split", "images_state", "shapes_class", "shapes_image", "history_image"):
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    present = {"meta", "shapes", "problems", "history"}
    create_tables(connection, {name: columns for name, columns in {**FACTS, **CACHES, **JOURNAL}.items() if name not in present})
    connection.execute("INSERT INTO classes (id, name, place) SELECT id, name, id FROM old_classes ORDER BY id")
    connection.execute("""INSERT INTO images (id, file, name, width, height, split, grp, state, revision, objects, kind, extra)
        SELECT i.id, file, name, width, height, split, grp, state, revision, coalesce(s.objects, 0), kind, extra
        FROM old_images i LEFT JOIN (SELECT image_id, count(*) AS objects FROM shapes GROUP BY image_id) s ON s.image_id = i.id ORDER BY i.id""")
    connection.execute("DROP TABLE old_images")
    connection.execute("DROP TABLE old_classes")
    classes = Classes.load(connection)
    for image_id, kind, extra in connection.execute("SELECT id, kind, extra FROM images WHERE kind IN ('tags', 'mask', 'layers')").fetchall():
        rows.put_content(connection, image_id, rows.labels_of(kind, extra, (), classes), classes)
    rows.count_shapes(connection)
    connection.execute("INSERT INTO meta VALUES ('class_epoch', '0')")
    connection.execute("DELETE FROM meta WHERE key = 'counts'")
    create_indexes(connection)
    connection.execute(f"PRAGMA user_version = {VERSION}")
