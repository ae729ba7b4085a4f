"""Names that would be markup or code, on every page of the real app: they stay names."""

import html

import pytest
from PIL import Image

from engine.workspace import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CLASSES = ("<script>window.__xss=1</script>", '"><img src=x onerror="window.__xss=2">', "'-alert(1)-'", "javascript:window.__xss=3",
           "{{constructor.constructor('window.__xss=4')()}}", "</style><svg onload=window.__xss=5>", "![x](javascript:window.__xss=6)")
FILES = ('<img src=x onerror="window.__xss=7">.png', "a'b\"onmouseover='window.__xss=8'.png", "-rf & $(touch x) `id`.png", "<b>fett<b>.png")

# What stands on each page, and in each tab of Data, once it is filled
PAGES = {"Home": ".lb-recent-card:not(.lb-waiting)", "Data": "#lb-data-header .lb-chips", "Train": "#lb-train-data .lb-chips",
         "Runs": "[role=tabpanel]:visible .lb-page", "Predict": "#lb-predict-sample", "Tools": "#lb-convert-file"}
VIEWS = {"Browse": "#lb-data-grid img[src]", "Health": "#lb-health-problems .lb-card", "Statistics": "[role=tabpanel]:visible figure svg",
         "Splits": "#lb-split-preview table", "Classes": "#lb-classes input", "Versions": "#lb-versions input"}


@pytest.fixture
def hostile(app, tmp_path):
    """A data set of the app's own workspace, imported before it starts."""
    root = tmp_path / "set"
    for number, name in enumerate(FILES):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "labels").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), (40 * number, 90, 90)).save(root / "images" / name)
        lines = [f"{c} 0.{c + 2} 0.5 0.2 0.5" for c in range(len(CLASSES))]
        (root / "labels" / f"{name.rpartition('.')[0]}.txt").write_text("\n".join([*lines, "99 0.5 0.5 0.2 0.2", "0 2.5 0.5 0.2 0.2"]))
    (root / "data.yaml").write_text("train: images\nnames:\n" + "".join("- " + repr_yaml(name) + "\n" for name in CLASSES), encoding="utf-8")
    dataset, _ = Workspace(app.workspace).import_dataset(root, '<img src=x onerror="window.__xss=9">')
    assert len(dataset.classes) == len(CLASSES)
    return dataset


def repr_yaml(text):
    return "'" + text.replace("'", "''") + "'"


def test_no_name_becomes_markup_on_any_page(hostile, page, app, tmp_path):
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.locator("#lb-page-home, [role=tabpanel]").first.wait_for()
    for name, filled in PAGES.items():
        page.open_tab(name)
        page.locator(filled).first.wait_for()
        for inner, drawn in (VIEWS if name == "Data" else {}).items():
            page.get_by_role("tab", name=inner, exact=True).click()
            page.locator(drawn).first.wait_for()
            page.wait_for_timeout(300)  # a script in a name would run now
    page.open_tab("Data")
    page.get_by_role("tab", name="Browse", exact=True).click()
    page.locator("#lb-data-grid img").first.wait_for()
    shown = html.unescape(page.locator("#lb-data-grid").inner_html())
    assert "onerror=" in shown, "the name of the file is shown, as text"
    page.locator("#lb-data-grid [data-index]").first.click()
    page.locator("#lb-viewer img").first.wait_for()
    assert page.evaluate("window.__xss") is None
    assert dialogs == []
    assert page.locator('img[src="x"]').count() == 0
    assert not page.foreign, "the page asked other hosts"
